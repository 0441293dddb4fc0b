"""`collections.csv`: which collection, licence and DOI each part of an archive has.

A table at the top of the archive, optional, one row per folder::

    path,collection_id,analysis_result_id,license_short_name,source_DOI
    ,my_archive,,CC BY 4.0,
    hospital-a/nodules,my_nodules,my_model_v2,CC BY-NC 4.0,10.5555/12345678

The row with the longest `path` that holds an object counts; the row without one is for everything
else. Only `path` and `collection_id` are needed.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from segtools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "collections.csv"


@dataclass(frozen=True, slots=True)
class Belonging:
    """Where a series belongs, under dicom_all's names."""

    collection_id: str
    analysis_result_id: str | None = None
    license_short_name: str | None = None
    source_DOI: str | None = None


_COLUMNS = ("path", *(field.name for field in fields(Belonging)))


class Belongings:
    """Looks up the row of an object.

    Parameters
    ----------
    text : str or None
        Content of `collections.csv`.
    default : Belonging
        For what no row covers.

    Raises
    ------
    UsageError
        ``collections-invalid``.
    """

    def __init__(self, text: str | None, default: Belonging) -> None:
        self._rows = {"": default} | (dict(_parse(text)) if text is not None else {})

    def of(self, folder: str) -> Belonging:
        """Look up the row for a folder, relative to the archive."""
        while folder not in self._rows:
            folder = folder.rpartition("/")[0]
        return self._rows[folder]


def _parse(text: str) -> Iterator[tuple[str, Belonging]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    seen: set[str] = set()
    try:
        names = tuple(reader.fieldnames or ())
        if unknown := [name for name in names if name not in _COLUMNS]:
            raise _invalid(1, f"unknown column {unknown[0]!r}; allowed are {', '.join(_COLUMNS)}")
        if not {"path", "collection_id"} <= set(names):
            raise _invalid(1, "the columns path and collection_id are needed")
        for row in reader:
            if None in row or None in row.values():
                raise _invalid(reader.line_num, f"{len(names)} values are needed")
            path = row.pop("path").strip().strip("/")
            path = "" if path == "." else path
            if not row["collection_id"]:
                raise _invalid(reader.line_num, "collection_id is empty")
            if path in seen:
                raise _invalid(reader.line_num, f"path {path!r} stands twice")
            seen.add(path)
            yield path, Belonging(**{name: value.strip() or None for name, value in row.items()})  # type: ignore[arg-type]
    except csv.Error as error:
        raise _invalid(reader.line_num, str(error)) from error


def _invalid(line: int, reason: str) -> UsageError:
    return UsageError("collections-invalid", f"{FILE} line {line}: {reason}.", line=line)
