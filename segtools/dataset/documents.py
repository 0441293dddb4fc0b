"""The documents of a dataset, made from its tables and their declarations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from segtools.files import tsv
from segtools.schema import DATASET_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_README = """# {name}

DICOM segmentations{release} as label maps and one table of segments: {segments} segments of {series} series.

| what | where |
|---|---|
| one row per segment | `tables/segments/*.parquet` |
| one row per series, failed and retired ones too | `tables/series/*.parquet` |
| everything repaired, assumed or doubtful | `tables/findings/*.parquet` |
| one row per file below `volumes/`, with its SHA-256 | `tables/files/*.parquet` |
| what the columns mean | below, and `tables/columns.tsv` |
| label maps | `volumes/<collection>/<PatientID>/<SeriesInstanceUID>/*_dseg.nii.gz` |
| how it was selected | `cohort.yaml` |
| what to cite, what is allowed | `CITATIONS.bib`, `LICENSES.tsv` |

Series by status: {statuses}.

`dataset.json` is the commit: files, rows, bytes and SHA-256 of each table, and the cohort-wide labels. Paths
in the tables are relative to this folder, so it can be moved.

## Load it

```python
import segtools

dataset = segtools.open(".")
large = dataset.segments("voxel_count > 1000 AND status <> 'failed'")
row = large.to_pylist()[0]
mask = dataset.mask(row)              # bool, (k, j, i)
volume = dataset.volume(row)          # all segments of the file; labels="cohort" for label_index
labels = dataset.labels               # structure to label_index
```

```sql
-- DuckDB
SELECT structure, count(*), median(volume_ml) FROM 'tables/segments/*.parquet' GROUP BY structure;
```

```python
import nibabel, pandas

segments = pandas.read_parquet("tables/segments")
row = segments.iloc[0]
image = nibabel.load(row.volume_path)                       # axes (i, j, k), RAS+, mm
mask = image.dataobj[...] == row.segment_number
```

## Mind

- A voxel's value is the SegmentNumber, not the label index: `label_index` is the same in the whole dataset.
- Where segments share voxels, they lie in several `_desc-layer<n>_dseg` files; no plain `_dseg` exists then.
- Fractions (`_probseg`) are stored as integers: divide by `max_fractional_value`; NIfTI's float32 slope can
  read back as slightly more than 1.
- What could not be had is null, with a finding; never 0.

## Columns
{dictionary}"""


def readme(name: str, idc_version: int | None, counts: Mapping[str, int]) -> bytes:
    """README.md: what is there, how to load it, and the data dictionary.

    Parameters
    ----------
    name : str
    idc_version : int or None
    counts : mapping of str to int
        Series by status, and ``segments``.
    """
    statuses = {status: count for status, count in counts.items() if status != "segments"}
    series = sum(count for status, count in statuses.items() if status != "retired")
    text = _README.format(
        name=_inline(name),
        release=f" of the Imaging Data Commons, release {idc_version}," if idc_version else "",
        segments=counts["segments"],
        series=series,
        statuses=", ".join(f"{count} {status}" for status, count in statuses.items()) or "none",
        dictionary=_dictionary(),
    )
    return text.encode("utf-8", "replace")


def columns() -> bytes:
    """The data dictionary ``columns.tsv``."""
    lines: list[tuple[str, ...]] = [("table", "column", "type", "unit", "nullable", "values", "description")]
    lines += [
        (
            table.name,
            column.name,
            str(column.type),
            column.unit,
            "yes" if column.nullable else "no",
            " ".join(column.values),
            column.description,
        )
        for table in DATASET_TABLES
        for column in table.columns
    ]
    return tsv(lines)


def citations(dois: Iterable[tuple[str, int]]) -> bytes:
    """``CITATIONS.bib``: one entry per DOI."""
    entries = []
    for doi, count in dois:
        bare = re.sub(r"^(https?://)?(dx\.)?doi\.org/", "", doi.strip())
        safe = re.sub(r"[^!-~]|[{}\\%]", "", bare)  # a DOI is printable ASCII; braces would end the field
        key = re.sub(r"[^A-Za-z0-9]+", "_", safe).strip("_")
        entries.append(
            f"@misc{{{key},\n  doi = {{{safe}}},\n  url = {{https://doi.org/{safe}}},\n"
            f"  note = {{{count} series of this dataset}}\n}}\n"
        )
    return "\n".join(entries).encode()


def licenses(rows: Iterable[tuple[str | None, str, int, int]]) -> bytes:
    """``LICENSES.tsv``: licence, collection, series, segments."""
    return tsv([("license", "collection_id", "series", "segments"), *rows])


def _dictionary() -> str:
    lines: list[str] = []
    for table in DATASET_TABLES:
        lines += ["", f"### {table.name}", "", table.description, "", "| column | type | unit | meaning |"]
        lines.append("|---|---|---|---|")
        for column in table.columns:
            kind = f"{column.type}{'?' if column.nullable else ''}"
            meaning = column.description.replace("|", "\\|")
            lines.append(f"| `{column.name}` | {kind} | {column.unit} | {meaning} |")
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    """A stranger's text as one plain Markdown line."""
    return re.sub(r"[^\w .,()/+-]", "", " ".join(text.split()))
