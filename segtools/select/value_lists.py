"""Values of a cohort's key from a file: CSV or TSV, Parquet, a plain list, an s5cmd manifest."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from segtools.errors import SpecError
from segtools.objectstore.urls import GS, S3, SERIES_FOLDER
from segtools.select.filters import SegmentFilters, SeriesFilters, filters
from segtools.terminology.names import close_matches, did_you_mean

LARGEST_LIST_BYTES = 256 * 1024**2
_TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_FILE_ENDINGS = (*_TABLES, ".txt", ".parquet", ".s5cmd")


def fill_lists(content: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """A cohort file's content with ``{file: …, column: …}`` replaced by the values of the file.

    Parameters
    ----------
    content : dict
    base : Path, optional
        Folder of the cohort file. Without it (a dataset's copy of the file) only absolute paths can be read.

    Raises
    ------
    SpecError
        ``spec-invalid``, with attribute ``key``.
    """
    filled = _fill(content, "", base, {*SeriesFilters.model_fields, *SegmentFilters.model_fields})
    if isinstance(filled.get("exclude"), dict):
        filled["exclude"] = _fill(filled["exclude"], "exclude.", base, set(SeriesFilters.model_fields))
    return filled


def _fill(content: dict[str, Any], prefix: str, base: Path | None, keys: set[str]) -> dict[str, Any]:
    return {
        key: _values(value, f"{prefix}{key}", base) if key in keys else value
        for key, value in content.items()
    }


def _values(value: Any, key: str, base: Path | None) -> Any:
    if isinstance(value, str) and value.lower().endswith(_FILE_ENDINGS):
        raise _invalid(key, f"{value!r} is the name of a file; to read its values write {{file: {value}}}")
    if not isinstance(value, dict) or "file" not in value:
        return value
    if unknown := value.keys() - {"file", "column"}:
        raise _invalid(key, f"unknown key {sorted(unknown)[0]!r}; known are file and column")
    path = Path(str(value["file"]))
    if not path.is_absolute():
        if base is None:
            raise _invalid(key, f"{path} is relative to the original cohort file, which is not here")
        path = base / path
    found = read_values(path, key, value.get("column"))
    if not found:
        raise _invalid(key, f"{path.name} holds no values")
    return found


def read_values(path: Path, key: str, column: str | None = None) -> list[str]:
    """The values of a file, each once, in their order.

    A file with named columns (CSV, TSV, Parquet) gives those of `column`, by default the DICOM name of the
    key (``PatientID`` for `patients`) or the only column. Any other file is a list, one value per line; of an
    s5cmd manifest the content ids in its URLs are the values, for `crdc_series_uuids`.

    Raises
    ------
    SpecError
        ``spec-invalid``: the file cannot be read, or lacks the column.
    """
    plain = key.removeprefix("exclude.")
    made = {**filters("series"), **filters("segments")}[plain]
    suffix = path.suffix.lower()
    try:
        if path.stat().st_size > LARGEST_LIST_BYTES:
            raise _invalid(key, f"{path.name} is larger than {LARGEST_LIST_BYTES} bytes")
        if suffix == ".parquet":
            values = _of_parquet(path, key, column, (plain, made.column))
        else:
            text = path.read_bytes().decode("utf-8-sig")
            if suffix in _TABLES:
                values = _of_table(text, _TABLES[suffix], path, key, column, (plain, made.column))
            else:
                values = _of_lines(text, path, key, plain)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _invalid(key, f"{path} cannot be read: {error}") from error
    return list(dict.fromkeys(value for value in (item.strip() for item in values) if value))


def _of_table(
    text: str, separator: str, path: Path, key: str, column: str | None, defaults: tuple[str, ...]
) -> list[str]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header = next(rows, [])
    place = _column([name.strip() for name in header], path, key, column, defaults)
    return [row[place] for row in rows if len(row) > place]


def _of_parquet(path: Path, key: str, column: str | None, defaults: tuple[str, ...]) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = list(pq.read_schema(path).names)
        name = names[_column(names, path, key, column, defaults)]
        values = pq.read_table(path, columns=[name])[name].to_pylist()
    except pa.ArrowException as error:
        raise _invalid(key, f"{path} is not a valid Parquet file: {error}") from error
    return [str(value) for value in values if value is not None]


def _column(names: list[str], path: Path, key: str, column: str | None, defaults: tuple[str, ...]) -> int:
    if column is None:
        there = [name for name in defaults if name in names] or (names if len(names) == 1 else [])
        if not there:
            raise _invalid(key, f"{path.name} has the columns {', '.join(names)}; say which one: column: …")
        column = there[0]
    if column not in names:
        hint = did_you_mean(close_matches(column, names)) or f"It has {', '.join(names)}."
        raise _invalid(key, f"{path.name} has no column {column!r}. {hint}".rstrip("."))
    return names.index(column)


def _of_lines(text: str, path: Path, key: str, plain: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    is_manifest = path.suffix.lower() == ".s5cmd" or any(S3 in line or GS in line for line in lines)
    if not is_manifest:
        return lines
    if plain != "crdc_series_uuids":
        raise _invalid(key, f"{path.name} is a manifest of URLs; it belongs to crdc_series_uuids")
    found = [match for line in lines if (match := SERIES_FOLDER.search(line))]
    if len(found) < len(lines):
        lost = next(line for line in lines if not SERIES_FOLDER.search(line))
        raise _invalid(key, f"{path.name}: this line names no series of IDC: {lost[:120]!r}")
    return [match[1] or match[2] for match in found]


def _invalid(key: str, message: str) -> SpecError:
    return SpecError("spec-invalid", f"{key}: {message}.", key=key)
