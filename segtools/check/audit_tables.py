"""Tables against dataset.json, against their declarations, and against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.check.schema_rules import check_table
from segtools.codes import CODES
from segtools.dataset.pages import entries
from segtools.files import sha256_of
from segtools.finding import Finding, Scope
from segtools.schema import DATASET_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segtools.dataset.reader import Dataset

_COUNTS = """
    WITH own AS (
        SELECT seg_series_uid, status,
            unnest(['segment_count', 'volume_count', 'volume_bytes', 'finding_count']) AS what,
            unnest([segment_count, volume_count, volume_bytes, finding_count]) AS stated
        FROM series
    ), counted AS (
        SELECT seg_series_uid, 'segment_count' AS what, count(*) AS n FROM segments GROUP BY ALL
        UNION ALL SELECT seg_series_uid, 'volume_count', count(*)
            FROM files WHERE kind NOT IN ('sidecar', 'image') GROUP BY ALL
        UNION ALL SELECT seg_series_uid, 'volume_bytes', sum(size_bytes)
            FROM files WHERE kind NOT IN ('sidecar', 'image') GROUP BY ALL
        UNION ALL SELECT seg_series_uid, 'finding_count', count(*) FROM findings
            WHERE seg_series_uid IS NOT NULL AND NOT list_contains($checks, rule) GROUP BY ALL
    )
    SELECT what, seg_series_uid, stated, coalesce(n, 0)::BIGINT AS counted
    FROM own FULL JOIN counted USING (seg_series_uid, what)
    WHERE coalesce(stated, 0) <> coalesce(n, 0) OR own.status IS NULL
    ORDER BY ALL
"""

_PATHS = """
    WITH named AS (
        SELECT DISTINCT seg_series_uid, unnest([volume_path, mask_path, fraction_path]) AS path FROM segments
        UNION SELECT seg_series_uid, image_path FROM images
    )
    SELECT path FROM named WHERE path IS NOT NULL
    EXCEPT SELECT path FROM files ORDER BY path
"""


def altered_pages(dataset: Dataset) -> Iterator[Finding]:
    """Tables that are not the committed ones, by their bytes."""
    for table in DATASET_TABLES:
        if table.name not in dataset.manifest["tables"]:
            yield finding("file-missing", f"dataset.json lists no table {table.name}.")
            continue
        listed = entries(dataset.manifest, table.name)
        for entry, path in zip(listed, dataset.table_paths(table.name), strict=True):
            digest = sha256_of(path)
            if digest != entry.get("sha256"):
                message = f"{entry['path']} is not the committed one."
                yield finding("file-altered", message, digest, entry.get("sha256"))


def check_tables(dataset: Dataset) -> Iterator[Finding]:
    """Row counts and declarations of the tables, then the tables against each other."""
    is_sound = True
    for table in DATASET_TABLES:
        entry = dataset.manifest["tables"][table.name]
        rows = dataset.sql(f"SELECT count(*) FROM {table.name}").column(0)[0].as_py()
        if rows != entry["rows"]:
            is_sound = False
            message = f"The table {table.name} has another number of rows."
            yield finding("file-altered", message, rows, entry["rows"])
        for found in check_table(dataset, table):
            is_sound = False
            yield found
    if is_sound:
        yield from _contradictions(dataset)


def _contradictions(dataset: Dataset) -> Iterator[Finding]:
    checks = [code for code, entry in CODES.items() if entry.stage == "check"]
    for row in dataset.sql(_COUNTS, {"checks": checks}).to_pylist():
        message = f"The tables disagree on {row['what']} of series {row['seg_series_uid']}."
        yield finding("count-mismatch", message, row["counted"], row["stated"])
    for row in dataset.sql(_PATHS).to_pylist():
        yield finding("count-mismatch", f"The table files does not list {row['path']}.", row["path"])


def finding(
    code: str,
    message: str,
    observed: object = None,
    expected: object = None,
    scope: Scope = "dataset",
    number: int | None = None,
) -> Finding:
    """A finding of the audit."""
    return Finding(
        code,
        message,
        scope=scope,
        segment_number=number,
        observed=None if observed is None else str(observed),
        expected=None if expected is None else str(expected),
    )
