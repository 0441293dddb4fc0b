"""Pictures of a few series: which ones, and what they show."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from segtools.errors import SegtoolsError
from segtools.report.projection import MAXIMUM_SEGMENTS, project
from segtools.report.summary import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segtools.dataset.reader import Dataset

MAXIMUM_THUMBNAILS = 12

MAXIMUM_VOXELS = 1 << 28
"""Larger volumes get no picture: the report shall fit beside a run."""

_LEGEND = 5
_GREY = (150, 160, 170)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A series in pictures.

    Attributes
    ----------
    segment_count : int
        Segments with voxels.
    legend : tuple of (str, str)
        Structure and colour ``#RRGGBB`` of the largest segments.
    pictures : mapping of str to bytes
        PNG by view; empty if there is none.
    problem : str or None
        Why there is none.
    """

    seg_series_uid: str
    collection_id: str
    patient_id: str
    segment_count: int
    legend: tuple[tuple[str, str], ...]
    pictures: Mapping[str, bytes]
    problem: str | None = None


class _Segment(NamedTuple):
    """A row of `_CHOSEN`."""

    seg_series_uid: str
    collection_id: str
    patient_id: str
    seg_sop_uid: str
    segment_number: int
    structure: str
    color_hex: str
    segment_count: int


def thumbnails(dataset: Dataset, count: int = MAXIMUM_THUMBNAILS) -> tuple[Thumbnail, ...]:
    """Draw a sample of the series, spread over the collections, always the same for the same tables.

    A volume that cannot be read is no reason to have no report: its thumbnail says why.

    Parameters
    ----------
    dataset : Dataset
    count : int
        Series at most.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read.
    """
    with connect(dataset) as db:
        rows = [_Segment(*row) for row in db.execute(_CHOSEN, {"count": count}).fetchall()]
    groups = itertools.groupby(rows, key=lambda row: row.seg_series_uid)
    return tuple(_thumbnail(dataset, tuple(group)) for _, group in groups)


def _thumbnail(dataset: Dataset, segments: tuple[_Segment, ...]) -> Thumbnail:
    first = segments[0]
    legend: dict[str, str] = {}
    for segment in segments:
        legend.setdefault(segment.structure, segment.color_hex)
    pictures: Mapping[str, bytes] = {}
    problem = None
    try:
        volume = dataset.volume(first.seg_sop_uid)
        colors = {segment.segment_number: _rgb(segment.color_hex) for segment in segments}
        pictures = project(volume.layers, volume.affine_ras_mm, colors)
        problem = None if pictures else "The volume holds no voxel of the segments that the table names."
    except SegtoolsError as error:
        problem = error.message
    return Thumbnail(
        first.seg_series_uid,
        first.collection_id,
        first.patient_id,
        first.segment_count,
        tuple(itertools.islice(legend.items(), _LEGEND)),
        pictures,
        problem,
    )


def _rgb(color_hex: str) -> tuple[int, int, int]:
    if re.fullmatch(r"#[0-9A-Fa-f]{6}", color_hex) is None:
        return _GREY
    red, green, blue = bytes.fromhex(color_hex[1:])
    return red, green, blue


# The first SOP instance of each series; of its segments the largest. Candidates are more than are
# shown: a series may be empty, FRACTIONAL or too large.
_CHOSEN = f"""
WITH candidate AS (
  SELECT seg_series_uid, md5(seg_series_uid) AS hash,
         row_number() OVER (PARTITION BY collection_id ORDER BY md5(seg_series_uid)) AS turn
  FROM live WHERE status IN ('ok', 'warned') AND volume_count > 0
  ORDER BY turn, hash LIMIT 4 * $count
), segment AS (
  SELECT s.*, turn, hash, count(*) OVER (PARTITION BY seg_series_uid, seg_sop_uid) AS segment_count,
         row_number() OVER (
           PARTITION BY seg_series_uid, seg_sop_uid ORDER BY voxel_count DESC, segment_number) AS place
  FROM segments s JOIN candidate USING (seg_series_uid)
  WHERE voxel_count > 0 AND volume_path IS NOT NULL AND affine_ras_mm IS NOT NULL
    AND least(spacing_i_mm, spacing_j_mm, spacing_k_mm) > 0
    AND CAST(size_i AS BIGINT) * size_j * size_k <= {MAXIMUM_VOXELS}
  QUALIFY seg_sop_uid = min(seg_sop_uid) OVER (PARTITION BY seg_series_uid)
)
SELECT seg_series_uid, collection_id, patient_id, seg_sop_uid, segment_number, structure, color_hex,
       segment_count
FROM segment
WHERE place <= {MAXIMUM_SEGMENTS}
QUALIFY dense_rank() OVER (ORDER BY turn, hash) <= $count
ORDER BY turn, hash, place
"""
