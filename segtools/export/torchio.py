"""TorchIO: label maps, images, and ``subjects.json`` with the paths of each subject."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtools.bounded_json import load_json
from segtools.errors import MissingError
from segtools.export.target import ExportFacts, split_of
from segtools.files import dump_json, write_bytes

if TYPE_CHECKING:
    from segtools.export.cases import Case


class TorchIO:
    """One subject per case; `subjects` makes TorchIO's objects of them."""

    needs_images = False
    can_overlap = True

    def label_map(self, case: Case) -> str:
        """``<case>/label.nii.gz``."""
        return f"{case.name}/label.nii.gz"

    def image(self, case: Case) -> str:
        """``<case>/image.nii.gz``."""
        return f"{case.name}/image.nii.gz"

    def finish(self, folder: Path, facts: ExportFacts) -> None:
        """Write ``subjects.json``."""
        content = {
            "labels": facts.regions if facts.has_regions else facts.table.ids,
            "subjects": [
                {
                    "name": entry.case.name,
                    "split": split_of(entry),
                    "label": entry.label_map,
                    **({"image": entry.image} if entry.image else {}),
                }
                for entry in facts.entries
            ],
        }
        write_bytes(folder / "subjects.json", dump_json(content))


def subjects(folder: Path | str) -> list[Any]:
    """Return ``torchio.Subject`` objects of an export; their images are read when used.

    Raises
    ------
    MissingError
        ``not-found``: no export there, or TorchIO is not installed.
    """
    try:
        import torchio
    except ImportError as error:
        raise MissingError("not-found", "TorchIO is not installed. Run `pip install torchio`.") from error
    path = Path(folder) / "subjects.json"
    if not path.is_file():
        raise MissingError("not-found", f"{path} does not exist; export with `--to torchio` first.")
    made = []
    for item in load_json(path.read_bytes())["subjects"]:
        image = {"image": torchio.ScalarImage(Path(folder) / item["image"])} if "image" in item else {}
        made.append(
            torchio.Subject(
                name=item["name"],
                split=item["split"],
                label=torchio.LabelMap(Path(folder) / item["label"]),
                **image,
            )
        )
    return made
