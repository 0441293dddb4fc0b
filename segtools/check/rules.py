"""Rules over the committed catalog: what is odd about a segment among its likes.

A rule is a query over the views ``segments`` and ``series`` that gives one row per finding. Rules only
point at things: they never change a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtools.finding import Finding, Scope, finding_row
from segtools.schema import FINDINGS
from segtools.terminology.licenses import NONCOMMERCIAL_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from segtools.dataset.reader import Dataset

OUTLIER_Z = 5.0
"""Robust z of the logarithm of a volume, from which on it is an outlier."""
OUTLIER_SPREAD = 0.05
"""Least spread (MAD of the logarithm) that is reckoned with: volumes within 45 % are never outliers.

Where half of all volumes are equal to the last bit, the spread is 0 and says nothing of the others.
"""
OUTLIER_PEERS = 10
"""Fewer segments of a structure than this say nothing about what is usual."""
FRAGMENTS = 20
"""Components from which on a mask is fragmented, if none of them holds half of it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes
    ----------
    code : str
        Of its findings, in `segtools.codes`.
    version : int
        Counts up when the rule changes what it finds.
    scope : {"series", "instance", "segment", "dataset"}
    query : str
        Gives ``message``, and where they apply ``seg_series_uid``, ``seg_sop_uid``,
        ``segment_number``, ``observed``, ``expected``.
    """

    code: str
    version: int
    scope: Scope
    query: str

    def __call__(self, dataset: Dataset) -> list[dict[str, object]]:
        """Rows of `segtools.schema.FINDINGS`."""
        return [self._row(found) for found in dataset.sql(self.query).to_pylist()]

    def _row(self, found: dict[str, object]) -> dict[str, object]:
        number = found.get("segment_number")
        finding = Finding(
            self.code,
            str(found["message"]),
            scope=self.scope,
            segment_number=number if isinstance(number, int) else None,
            observed=_text(found.get("observed")),
            expected=_text(found.get("expected")),
        )
        return finding_row(
            finding,
            seg_series_uid=_text(found.get("seg_series_uid")),
            seg_sop_uid=_text(found.get("seg_sop_uid")),
            rule_version=self.version,
        )


def check_catalog(dataset: Dataset, rules: Iterable[Rule] | None = None) -> pa.Table:
    """Findings of all `rules` about a dataset, in the table's order.

    Parameters
    ----------
    dataset : Dataset
    rules : iterable of Rule, optional
        Default: `RULES`.

    Returns
    -------
    pyarrow.Table
        With the schema `segtools.schema.FINDINGS`.
    """
    rows = [row for rule in (RULES if rules is None else rules) for row in rule(dataset)]
    unique = {row["finding_id"]: row for row in rows}
    table = FINDINGS.from_rows(list(unique.values()))
    return table.sort_by([(column, "ascending") for column in FINDINGS.order])


def _text(value: object) -> str | None:
    return None if value is None else str(value)


_KEYS = "seg_series_uid, seg_sop_uid, segment_number"

_VOLUME_OUTLIER = f"""
    WITH sizes AS (
        SELECT {_KEYS}, structure, volume_ml, ln(volume_ml) AS size
        FROM segments WHERE volume_ml > 0 AND structure <> 'unnamed'
    ), usual AS (
        SELECT structure, median(size) AS middle, mad(size) AS spread
        FROM sizes GROUP BY structure HAVING count(*) >= {OUTLIER_PEERS}
    )
    SELECT {_KEYS},
        format('{{}} of {{:.1f}} ml, where {{:.1f}} ml is usual in this dataset.',
               structure, volume_ml, exp(middle)) AS message,
        format('{{:.4g}} ml', volume_ml) AS observed, format('{{:.4g}} ml', exp(middle)) AS expected
    FROM sizes JOIN usual USING (structure)
    -- 0.6745: the MAD of a normal distribution of deviation 1
    WHERE spread > 1e-9 AND 0.6745 * abs(size - middle) / greatest(spread, {OUTLIER_SPREAD}) > {OUTLIER_Z}
"""

_LATERALITY_BY_LABEL = f"""
    WITH words AS (
        SELECT {_KEYS}, label, laterality,
            regexp_matches(lower(label), '(^|[^a-z])left([^a-z]|$)') AS says_left,
            regexp_matches(lower(label), '(^|[^a-z])right([^a-z]|$)') AS says_right
        FROM segments WHERE label IS NOT NULL AND laterality IN ('left', 'right')
    )
    SELECT {_KEYS}, format('SegmentLabel says "{{}}", the code says {{}}.', label, laterality) AS message,
        label AS observed, laterality AS expected
    FROM words
    WHERE says_left <> says_right AND says_left <> (laterality = 'left')
"""

_LATERALITY_BY_POSITION = """
    WITH sides AS (
        SELECT seg_series_uid, seg_sop_uid, type_scheme, type_code, region_code, laterality,
            any_value(segment_number) AS segment_number, any_value(centroid_r_mm) AS r_mm
        FROM segments
        WHERE laterality IN ('left', 'right') AND voxel_count > 0 AND type_code IS NOT NULL
        GROUP BY ALL HAVING count(*) = 1
    )
    SELECT l.seg_series_uid, l.seg_sop_uid, l.segment_number,
        format('The left one lies {:.1f} mm to the right of the right one (segment {}).',
               l.r_mm - r.r_mm, r.segment_number) AS message,
        format('{:.1f} mm', l.r_mm) AS observed, format('below {:.1f} mm', r.r_mm) AS expected
    FROM sides l JOIN sides r
        ON l.seg_sop_uid = r.seg_sop_uid AND l.type_scheme = r.type_scheme AND l.type_code = r.type_code
        AND l.region_code IS NOT DISTINCT FROM r.region_code
    WHERE l.laterality = 'left' AND r.laterality = 'right' AND l.r_mm > r.r_mm
"""

_DUPLICATE_STRUCTURE = f"""
    SELECT {_KEYS}, format('{{}} is there {{}} times under the same label.', structure, times) AS message,
        format('{{}}', times) AS observed, '1' AS expected
    FROM (
        SELECT {_KEYS}, structure,
            count(*) OVER same AS times, row_number() OVER (same ORDER BY segment_number) AS nth
        FROM segments WHERE structure <> 'unnamed'
        WINDOW same AS (PARTITION BY seg_sop_uid, structure, label, tracking_uid)
    )
    WHERE nth > 1
"""

# One finding per file, not per segment: in a whole-body model a third of all organs are cut off.
_TOUCHES_BORDER = """
    SELECT seg_series_uid, seg_sop_uid,
        format('{} of {} segments touch the border of the grid.',
               count(*) FILTER (touches_border), count(*)) AS message,
        string_agg(segment_number, ' ' ORDER BY segment_number) FILTER (touches_border) AS observed
    FROM segments WHERE voxel_count > 0
    GROUP BY ALL HAVING count(*) FILTER (touches_border) > 0
"""

_FRAGMENTED = f"""
    SELECT {_KEYS}, format('{{}} components, the largest has {{:.0f}} % of the voxels.',
                           component_count, 100 * largest_component_fraction::DOUBLE) AS message,
        format('{{}}', component_count) AS observed
    FROM segments WHERE component_count >= {FRAGMENTS} AND largest_component_fraction < 0.5
"""

_NONCOMMERCIAL = f"""
    SELECT seg_series_uid, format('The licence is {{}}.', license) AS message, license AS observed
    FROM series
    WHERE status <> 'retired' AND regexp_matches(lower(license), '{NONCOMMERCIAL_PATTERN}')
"""

_CODE_MEANING = """
    WITH codes AS (
        SELECT category_scheme AS scheme, category_code AS code, category_meaning AS meaning FROM segments
        UNION SELECT type_scheme, type_code, type_meaning FROM segments
        UNION SELECT region_scheme, region_code, region_meaning FROM segments
    )
    SELECT format('{} {} means {}.', scheme, code, string_agg(meaning, ', ' ORDER BY meaning)) AS message,
        string_agg(meaning, '; ' ORDER BY meaning) AS observed
    FROM codes WHERE scheme IS NOT NULL AND code IS NOT NULL AND meaning IS NOT NULL
    GROUP BY scheme, code HAVING count(DISTINCT lower(trim(meaning))) > 1
"""

_PAIR_GRID = """
    SELECT i.seg_series_uid, s.seg_sop_uid,
        'The label map has ' || s.size_k || ' × ' || s.size_j || ' × ' || s.size_i
        || ' voxels (k, j, i), the image ' || i.size_k || ' × ' || i.size_j || ' × ' || i.size_i
        || ', or their affines differ.' AS message
    FROM images i JOIN (
        SELECT DISTINCT seg_series_uid, seg_sop_uid, size_i, size_j, size_k, affine_ras_mm FROM segments
        WHERE coalesce(volume_path, fraction_path) IS NOT NULL
    ) s USING (seg_series_uid)
    WHERE i.image_path IS NOT NULL AND (
        (i.size_i, i.size_j, i.size_k) IS DISTINCT FROM (s.size_i, s.size_j, s.size_k)
        OR list_max([abs(i.affine_ras_mm[n] - s.affine_ras_mm[n]) FOR n IN range(1, 17)]) > 1e-3
    )
"""

RULES = (
    Rule("volume-outlier", 2, "segment", _VOLUME_OUTLIER),
    Rule("laterality-conflict", 1, "segment", _LATERALITY_BY_LABEL),
    Rule("laterality-conflict", 1, "segment", _LATERALITY_BY_POSITION),
    Rule("duplicate-structure", 1, "segment", _DUPLICATE_STRUCTURE),
    Rule("touches-border", 1, "instance", _TOUCHES_BORDER),
    Rule("fragmented", 1, "segment", _FRAGMENTED),
    Rule("noncommercial-license", 1, "series", _NONCOMMERCIAL),
    Rule("pair-grid-differs", 1, "instance", _PAIR_GRID),
    Rule("code-meaning-conflict", 1, "dataset", _CODE_MEANING),
)
"""Every rule of the catalog; adding one is adding it here."""
