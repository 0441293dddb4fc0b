"""How fast a cohort is planned and selected.

`run()` gives one row per measurement; `python -m benchmarks.select` prints them.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from segtools.select import Sources

SERIES = 126_051
SEGMENTS_PER_SERIES = 80
ROWS = SERIES * SEGMENTS_PER_SERIES

_CODE = "{{'CodeValue': {}, 'CodingSchemeDesignator': {}, 'CodeMeaning': {}}}"
_NO_CODE = "NULL::STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)"

# Kinds 0 to 79; every fourth kind is one-sided. Kind 7 is the liver, so 1 of 80 segments matches.
_SEGMENTATIONS = f"""
SELECT
  'P' || (s % 26194) AS PatientID,
  '1.2.840.113654.2.55.' || (s % 60000) AS StudyInstanceUID,
  '1.2.276.0.7230010.3.1.3.313263360.' || s AS SeriesInstanceUID,
  '1.2.276.0.7230010.3.1.4.313263360.' || s AS SOPInstanceUID,
  '1.2.840.113654.2.55.9.' || s AS FrameOfReferenceUID,
  'BINARY' AS SegmentationType,
  {_NO_CODE} AS AnatomicRegion,
  {_NO_CODE} AS AnatomicRegionModifier,
  {_CODE.format("'123037004'", "'SCT'", "'Anatomical Structure'")} AS SegmentedPropertyCategory,
  {{
    'CodeValue': CASE WHEN k = 7 THEN '10200004' ELSE (1000000 + k)::VARCHAR END,
    'CodingSchemeDesignator': 'SCT',
    'CodeMeaning': CASE WHEN k = 7 THEN 'Liver' ELSE 'Structure ' || k END,
    'AnatomicRegionModifierSequence': []::STRUCT(
      CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[],
    'SegmentedPropertyTypeModifierCodeSequence': CASE k % 4
      WHEN 1 THEN [{_CODE.format("'7771000'", "'SCT'", "'Left'")}]
      WHEN 2 THEN [{_CODE.format("'24028007'", "'SCT'", "'Right'")}]
      ELSE []::STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] END
  }} AS SegmentedPropertyType,
  'AUTOMATIC' AS SegmentAlgorithmType,
  'TotalSegmentator' AS SegmentAlgorithmName,
  k + 1 AS SegmentNumber,
  '1.2.3.' || s || '.' || k AS TrackingUID,
  'Structure ' || k AS TrackingID,
  '1.2.840.113654.2.55.7.' || s AS segmented_SeriesInstanceUID,
  'https://viewer.imaging.datacommons.cancer.gov/viewer/' || s AS viewer_url
FROM range({{series}}) AS a(s), range({SEGMENTS_PER_SERIES}) AS b(k)
"""

_SERIES = """
SELECT
  'nlst' AS collection_id, 'totalsegmentator_ct_segmentations' AS analysis_result_id,
  'P' || (s % 26194) AS PatientID, '1.2.840.113654.2.55.' || (s % 60000) AS StudyInstanceUID,
  '1.2.276.0.7230010.3.1.3.313263360.' || s AS SeriesInstanceUID, 'uuid-' || s AS crdc_series_uuid,
  'SEG' AS Modality, '1.2.840.10008.5.1.4.1.1.66.4' AS SOPClassUID,
  '1.2.840.10008.1.2.1' AS TransferSyntaxUID,
  NULL::VARCHAR AS SeriesDescription, 's3://bucket/uuid-' || s || '/' AS series_aws_url,
  109000000::BIGINT AS series_size_bytes, 1::BIGINT AS instance_count, 'CC BY 4.0' AS license_short_name,
  '10.5281/zenodo.8347011' AS source_DOI
FROM range({series}) AS a(s)
"""

_INSTANCES = """
SELECT
  NULL::VARCHAR AS SeriesInstanceUID, NULL::VARCHAR AS SOPInstanceUID, NULL::VARCHAR AS aws_url,
  NULL::BIGINT AS instance_size, NULL::VARCHAR AS instance_hash
LIMIT 0
"""


def generate(folder: Path, series: int = SERIES) -> Sources:
    """An own index of `series` × 80 segments; what is there already is kept."""
    import duckdb

    from segtools.select import Sources

    folder.mkdir(parents=True, exist_ok=True)
    texts = {"segmentations": _SEGMENTATIONS, "series_index": _SERIES, "instances": _INSTANCES}
    with duckdb.connect(":memory:") as connection:
        for name, text in texts.items():
            path = folder / f"{name}.parquet"
            if not path.exists():
                rows = text.replace("{series}", str(series))
                connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    return Sources((folder,), idc=False)


def run(folder: Path | None = None) -> list[dict[str, Any]]:
    """Measure planning and selection; the first call of each is not counted."""
    from segtools.select import (
        LocalEngine,
        Sources,
        parse_spec,
        plan,
        select,
    )

    rows = []

    def measure(what: str, limit_s: float, action: Callable[[], int]) -> None:
        action()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            count = action()
            times.append(time.perf_counter() - start)
        rows.append(
            {
                "what": what,
                "rows": count,
                "seconds": round(min(times), 2),
                "limit_s": limit_s,
                "peak_mb": _peak_mb(),
            }
        )

    everything = parse_spec("")

    def plan_all() -> int:
        return plan(select(everything, Sources(), LocalEngine()), everything).series

    measure("plan all of IDC SEG (idc-index-data)", 3.0, plan_all)
    with tempfile.TemporaryDirectory() as made:
        sources = generate(folder or Path(made))
        for text in ("structures: SCT:10200004", "structures: liver", "structures: SCT:1000001/left"):
            spec = parse_spec(text)
            measure(
                f"select {text} from {ROWS:,} segments",
                2.0,
                lambda spec=spec: select(spec, sources, LocalEngine()).series.num_rows,
            )
    return rows


def _peak_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    for row in run(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
