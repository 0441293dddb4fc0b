"""IDC's indexes of CT, MR, PT, contrast and geometry as one table of image attributes, for DuckDB.

The files are the release artefacts of idc-index-data (`ct_index.parquet` and so on), as `idcseg mirror` keeps
them. Columns differ from release to release: what a file lacks reads as null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from segtools import schema
from segtools.errors import SelectError
from segtools.select.engines.schema_drift import google_type

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FILES = ("ct_index", "mr_index", "pt_index", "contrast_index", "volume_geometry_index")
"""Files read, in order: of a value that several have, the first counts."""

_SLICES = ("ct_index", "mr_index", "pt_index")

_ATTRIBUTES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # column -> files that have it, its name there; of two names the larger value counts
    "slice_thickness_mm": (_SLICES, ("SliceThickness",)),
    "pixel_spacing_mm": (_SLICES, ("PixelSpacing_row_mm", "PixelSpacing_col_mm")),
    "row_count": (_SLICES, ("Rows",)),
    "column_count": (_SLICES, ("Columns",)),
    "kernels": (("ct_index",), ("ConvolutionKernel",)),
    "kvp": (("ct_index",), ("KVP",)),
    "field_strength_t": (("mr_index",), ("MagneticFieldStrength",)),
    "sequence_name": (("mr_index",), ("SequenceName",)),
    "acquisition_type": (("mr_index",), ("MRAcquisitionType",)),
    "echo_times_ms": (("mr_index",), ("EchoTime",)),
    "repetition_time_ms": (("mr_index",), ("RepetitionTime",)),
    "b_values": (("mr_index",), ("DiffusionBValue",)),
    "radiopharmaceutical": (("pt_index",), ("Radiopharmaceutical",)),
    "contrast_agents": (("contrast_index",), ("ContrastBolusAgent",)),
    # The index lists the series with contrast only: a series that is not in it has none.
    "has_contrast": (("contrast_index",), ()),
    "is_regular": (("volume_geometry_index",), ("regularly_spaced_3d_volume",)),
    "slice_spacing_mm": (("volume_geometry_index",), ("slice_spacing_mm",)),
    "obliquity_deg": (("volume_geometry_index",), ("obliquity_degrees",)),
}

_DUCKDB = {
    "ARRAY<STRING>": "VARCHAR[]",
    "ARRAY<FLOAT64>": "DOUBLE[]",
    "FLOAT64": "DOUBLE",
    "INT64": "BIGINT",
    "BOOL": "BOOLEAN",
    "STRING": "VARCHAR",
}


def attributes(folders: Sequence[Path], view: Callable[[Path, str], str]) -> str | None:
    """SQL that reads the indexes at hand as `segtools.schema.IDC_IMAGES`; None where there are none.

    Parameters
    ----------
    folders : sequence of Path
        Where to look for the files, best first.
    view : callable
        Makes a view of a Parquet file under a name.

    Raises
    ------
    SelectError
        ``table-invalid``: a file cannot be read, or has no SeriesInstanceUID.
    """
    have: dict[str, set[str]] = {}
    for name in FILES:
        paths = [folder / f"{name}.parquet" for folder in folders]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            have[name] = check(path)
            view(path, name)
    if not have:
        return None
    uids = " UNION ".join(f"SELECT SeriesInstanceUID FROM {name}" for name in have)
    joins = "".join(f" LEFT JOIN {name} USING (SeriesInstanceUID)" for name in have)
    columns = ", ".join(
        f"{_value(column, have)} AS {column.name}"
        for column in schema.IDC_IMAGES.columns
        if column.name != "SeriesInstanceUID"
    )
    return f"SELECT uids.SeriesInstanceUID, {columns} FROM ({uids}) AS uids{joins}"


def check(path: Path) -> set[str]:
    """The columns of an index.

    Raises
    ------
    SelectError
        ``table-invalid``: it cannot be read, or has no SeriesInstanceUID.
    """
    try:
        names = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise SelectError("table-invalid", f"{path} cannot be read: {error}.", path=str(path)) from error
    if "SeriesInstanceUID" not in names:
        raise SelectError("table-invalid", f"{path} lacks SeriesInstanceUID.", path=str(path))
    return names


def _value(column: schema.Column, have: dict[str, set[str]]) -> str:
    files, names = _ATTRIBUTES[column.name]
    parts = []
    for file in files:
        there = [f"{file}.{name}" for name in names if file in have and name in have[file]]
        if there:
            parts.append(f"greatest({', '.join(there)})" if len(there) > 1 else there[0])
        elif not names and file in have:
            parts.append(f"({file}.SeriesInstanceUID IS NOT NULL)")
    value = f"coalesce({', '.join(parts)})" if parts else "NULL"
    return f"CAST({value} AS {_DUCKDB[google_type(column.type)]})"
