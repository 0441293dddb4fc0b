"""Read a description of labels of any kind, by its name and content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.encode.metadata.dcmqi import read_dcmqi
from segtools.encode.metadata.description import Description, invalid
from segtools.encode.metadata.own import read_own
from segtools.encode.metadata.table import read_table
from segtools.errors import MissingError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".json", ".tsv", ".yaml", ".yml")


def read_description(path: Path) -> Description:
    """Read dcmqi's JSON, a BIDS table, or YAML.

    Raises
    ------
    MissingError
        ``not-found``.
    UsageError
        ``metadata-invalid``, with line and key.
    """
    if not path.is_file():
        raise MissingError("not-found", f"There is no description {path}.", path=str(path))
    readers = {".json": read_dcmqi, ".tsv": read_table, ".yaml": read_own, ".yml": read_own}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise invalid(path, f"its name ends in none of {', '.join(SUFFIXES)}")
    try:
        return reader(path)
    except OSError as error:
        raise invalid(path, f"it cannot be opened ({error.strerror or error})") from error
