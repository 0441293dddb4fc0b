"""What a cohort would cost before anything moves: series, bytes, time, licences, citations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from segtools.terminology.licenses import is_noncommercial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segtools.select.cohort_spec import CohortSpec
    from segtools.select.selection import Selection


@dataclass(frozen=True)
class Rates:
    """What estimates rest on; give your own where you have measured.

    Attributes
    ----------
    download_bytes_s : float, bytes/s
        Default: 1 Gbit/s.
    decode_bytes_s : float, bytes/s
        DICOM bytes decoded and written per second, all workers together.
    series_s : float, s
        Fixed cost of a series, all workers together.
    labelmap_ratio, mask_ratio : float
        Bytes written per DICOM byte: gzipped label maps; label maps and one mask per segment.
    image_ratio : float
        Bytes of gzipped images per DICOM byte.
    table_bytes_per_segment : float, bytes
    working_bytes : int, bytes
        Most DICOM on disk at a time (the disk budget of a run).
    """

    download_bytes_s: float = 125e6
    decode_bytes_s: float = 250e6
    series_s: float = 0.02
    labelmap_ratio: float = 0.02
    mask_ratio: float = 0.06
    image_ratio: float = 0.6
    table_bytes_per_segment: float = 250.0
    working_bytes: int = 20 * 1024**3


@dataclass(frozen=True)
class CostEstimate:
    """The numbers of a selection.

    Attributes
    ----------
    segments : int or None
        Segments that match; None where no table knows.
    bytes : int, bytes
        To download, as the tables state it.
    image_series, image_bytes : int; bytes
        The images to fetch too, where the cohort asks for them; in `bytes` already.
    disk_bytes : int, bytes
        Most disk in use at a time, outputs included; an estimate.
    seconds : int, s
        An estimate.
    query_bytes : int, bytes
        What the queries read on BigQuery; 0 for the embedded engine.
    licenses, citations : dict of str to int
        Licence → series, DOI → series; series without either count under ``""``.
    noncommercial : int
        Series whose licence forbids commercial use.
    """

    cohort: str
    engine: str
    idc_version: int | None
    series: int
    segments: int | None
    patients: int
    studies: int
    instances: int
    bytes: int
    image_series: int
    image_bytes: int
    disk_bytes: int
    seconds: int
    query_bytes: int
    query_cost_usd: float
    licenses: Mapping[str, int]
    noncommercial: int
    citations: Mapping[str, int]
    collections: Mapping[str, int]
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return dataclasses.asdict(self) | {"warnings": list(self.warnings)}


def plan(selection: Selection, spec: CohortSpec, rates: Rates | None = None) -> CostEstimate:
    """The plan of a selection.

    Parameters
    ----------
    selection : Selection
    spec : CohortSpec
        Its output choices decide the disk needed.
    rates : Rates, optional
    """
    rates = rates or Rates()
    series = selection.series
    size = (pc.sum(series["size_bytes"]).as_py() or 0) + (image_bytes := _image_bytes(selection))
    ratio = {"labelmap": rates.labelmap_ratio, "masks": rates.mask_ratio, "none": 0.0}[spec.output.volumes]
    segments = selection.segment_count
    written = (
        (size - image_bytes) * ratio
        + image_bytes * rates.image_ratio
        + (segments or series.num_rows) * rates.table_bytes_per_segment
    )
    # Download and decoding overlap: the slower one decides.
    seconds = max(
        size / rates.download_bytes_s, size / rates.decode_bytes_s + series.num_rows * rates.series_s
    )
    licenses = _counts(series, "license")
    query_bytes = int(selection.provenance.get("bytes_processed", 0))
    price = float(selection.provenance.get("price_usd_per_tib", 0.0))
    return CostEstimate(
        cohort=spec.name,
        engine=selection.engine,
        idc_version=selection.idc_version,
        series=series.num_rows,
        segments=segments,
        # PatientID is unique only within a collection; 89 recur in IDC.
        patients=series.group_by(["collection_id", "patient_id"]).aggregate([]).num_rows,
        studies=pc.count_distinct(series["study_uid"]).as_py(),
        instances=pc.sum(series["instance_count"]).as_py() or 0,
        bytes=size,
        image_series=selection.images.num_rows if selection.images is not None else 0,
        image_bytes=image_bytes,
        disk_bytes=int(min(size, rates.working_bytes) + written),
        seconds=round(seconds),
        query_bytes=query_bytes,
        query_cost_usd=round(query_bytes / 1024**4 * price, 4),
        licenses=licenses,
        noncommercial=sum(count for name, count in licenses.items() if is_noncommercial(name)),
        citations=_counts(series, "source_doi"),
        collections=_counts(series, "collection_id"),
        warnings=selection.warnings,
    )


def _image_bytes(selection: Selection) -> int:
    if selection.images is None:
        return 0
    return int(pc.sum(selection.images["size_bytes"]).as_py() or 0)


def _counts(series: pa.Table, column: str) -> dict[str, int]:
    """Value → series, the most frequent first."""
    counts = pc.value_counts(series[column].combine_chunks()).to_pylist()
    found = {str(entry["values"] or ""): int(entry["counts"]) for entry in counts}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
