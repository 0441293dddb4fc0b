"""Every table of the project, declared once: Arrow schema, units, descriptions, rules.

The stages' contract is a table. Arrow schemas, `columns.tsv`, the data dictionary in
`docs/columns.md` and the checks derive from the declarations below.

Naming: units are suffixes (``_mm _ml _bytes _s``), axes are ``i`` (column), ``j`` (row), ``k``
(slice), booleans start with ``is_``/``has_`` or are verbs, codes are ``_code _scheme _meaning``.
"""

from __future__ import annotations

from segtools.schema.columns import KINDS, Column, Table
from segtools.schema.idc import IDC_IMAGES, IDC_INSTANCES, IDC_SEGMENTATIONS, IDC_SERIES
from segtools.schema.tables import (
    AGREEMENT,
    DATASET_TABLES,
    FILES,
    FINDINGS,
    FORMAT_VERSION,
    IMAGES,
    OBJECTS,
    SEGMENT_STATUS,
    SEGMENTS,
    SELECTION,
    SELECTION_COLUMNS,
    SERIES,
    SERIES_KEYS,
    SERIES_STATUS,
)

__all__ = [
    "AGREEMENT",
    "DATASET_TABLES",
    "FILES",
    "FINDINGS",
    "FORMAT_VERSION",
    "IDC_IMAGES",
    "IDC_INSTANCES",
    "IDC_SEGMENTATIONS",
    "IDC_SERIES",
    "IMAGES",
    "KINDS",
    "OBJECTS",
    "SEGMENTS",
    "SEGMENT_STATUS",
    "SELECTION",
    "SELECTION_COLUMNS",
    "SERIES",
    "SERIES_KEYS",
    "SERIES_STATUS",
    "Column",
    "Table",
]
