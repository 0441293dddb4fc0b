"""Whether an object has what its information object definition asks for: attributes of type 1 and 2.

The tables are those that highdicom carries (PS3.3 as JSON); they know the Label Map Segmentation
class, which Debian's dciodvfy does not. Conditional types (1C, 2C) are not judged.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from segtools.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_IOD = {"1.2.840.10008.5.1.4.1.1.66.4": "segmentation", "1.2.840.10008.5.1.4.1.1.66.7": "segmentation"}
_PATIENT_SPACE = "frame-of-reference"


def missing_attributes(dataset: Dataset) -> list[str]:
    """Attributes of type 1 that are absent or empty, and of type 2 that are absent.

    Parameters
    ----------
    dataset : Dataset
        A segmentation; its pixels are not looked at.

    Returns
    -------
    list of str
        ``"module: path.keyword (type)"``, in the order of the modules.

    Raises
    ------
    MissingError
        ``not-found``: highdicom is not installed.
    """
    modules, attributes = _tables()
    problems: dict[str, None] = {}
    for module in modules[_IOD[dataset.SOPClassUID]]:
        rows = attributes.get(module["key"], [])
        if not _applies(module, rows, dataset):
            continue
        for row in rows:
            if row["type"] in ("1", "2"):
                for _ in _lacking(dataset, row):
                    where = ".".join([*row["path"], row["keyword"]])
                    problems[f"{module['key']}: {where} (type {row['type']})"] = None
    return list(problems)


@cache
def _tables() -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        folder = files("highdicom") / "_standard"
    except ModuleNotFoundError as error:
        raise MissingError(
            "not-found", "The check of modules needs the package highdicom, which is not installed."
        ) from error
    modules = json.loads((folder / "iod_module_map.json").read_text("utf-8"))
    attributes = json.loads((folder / "module_attribute_map.json").read_text("utf-8"))
    wanted = {module["key"] for name in set(_IOD.values()) for module in modules[name]}
    return modules, {key: rows for key, rows in attributes.items() if key in wanted}


def _applies(module: dict[str, str], rows: list[dict[str, Any]], dataset: Dataset) -> bool:
    """Mandatory modules always; others where the object has any attribute that is theirs alone."""
    if module["usage"] == "M":
        return True
    if module["key"] == _PATIENT_SPACE:
        return "FrameOfReferenceUID" in dataset
    if module["key"] in ("palette-color-lookup-table", "icc-profile"):
        return bool(dataset.PhotometricInterpretation == "PALETTE COLOR")
    first = next((row["keyword"] for row in rows if row["type"] == "1" and not row["path"]), None)
    return first is not None and first in dataset


def _lacking(dataset: Dataset, row: dict[str, Any]) -> Iterator[Dataset]:
    """Items that lack what a row asks for; a sequence that is absent asks for nothing inside."""
    path = list(row["path"])
    if path and path[0] in (_SHARED, _PER_FRAME):
        if len(path) == 1:
            return  # which groups there must be is conditional (PS3.3 A.51.5.1)
        containers = [*dataset.get(_SHARED, ()), *dataset.get(_PER_FRAME, ())]
        path = path[1:]
    else:
        containers = [dataset]
    for keyword in path:
        containers = [item for container in containers for item in container.get(keyword, None) or ()]
    for container in containers:
        element = (
            container.get(row["keyword"], None)
            if row["keyword"] not in container
            else container[row["keyword"]]
        )
        if element is None or (row["type"] == "1" and element.is_empty):
            yield container
