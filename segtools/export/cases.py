"""Cases: one segmentation instance of a dataset with its label maps, and the image under it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from segtools.dataset.reader import Dataset

_COLUMNS = (
    "collection_id",
    "patient_id",
    "study_uid",
    "seg_series_uid",
    "seg_sop_uid",
    "segment_number",
    "structure",
    "color_hex",
    "layer",
    "volume_path",
    "fraction_path",
    "source_modality",
)
_PLAIN = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Case:
    """A segmentation with label maps.

    Attributes
    ----------
    name : str
        Of letters, digits and hyphens; unique in the dataset, the same in every export.
    subject, session : str
        Letters and digits, as BIDS wants them; of one patient of one collection, of one study.
    series : dict
        The row of the series table.
    segments : tuple of dict
        The instance's rows of the segments table, by segment number.
    layers : tuple of str
        Label maps, relative to the dataset.
    image_path : Path or None
        NIfTI of the segmented images on the same grid.
    split : str or None
        ``train``, ``val``, ``test`` or whatever the dataset calls it.
    """

    name: str
    subject: str
    session: str
    series: dict[str, Any]
    segments: tuple[dict[str, Any], ...]
    layers: tuple[str, ...]
    image_path: Path | None
    split: str | None

    @property
    def modality(self) -> str | None:
        """Modality (0008,0060) of the segmented images."""
        modality: str | None = self.series.get("source_modality")
        return modality


def cases(dataset: Dataset, where: str | None = None, images: Path | None = None) -> Iterator[Case]:
    """Every instance that has label maps, in the order of the segments table.

    Instances with fractions only (FRACTIONAL) are no cases: their voxels are no labels.

    Parameters
    ----------
    dataset : Dataset
    where : str, optional
        SQL condition on the segments; an instance counts with the segments that fulfil it.
    images : Path, optional
        Folder with ``<SeriesInstanceUID of the images>.nii.gz``, for datasets without images.
    """
    series = {row["seg_series_uid"]: row for row in dataset.series().to_pylist()}
    rows = dataset.segments(where, columns=_COLUMNS).to_pylist()
    rows.sort(
        key=lambda row: (
            row["collection_id"],
            row["patient_id"],
            row["seg_series_uid"],
            row["seg_sop_uid"],
            row["segment_number"],
        )
    )
    instances: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["volume_path"]:
            instances.setdefault(row["seg_sop_uid"], []).append(row)
    for sop_uid, segments in instances.items():
        first = segments[0]
        own = series[first["seg_series_uid"]]
        subject = f"{_plain(first['collection_id'])}{_plain(first['patient_id'])}"[:48] + _tag(
            first["collection_id"], first["patient_id"]
        )
        layers = dict(sorted((row["layer"], row["volume_path"]) for row in segments))
        yield Case(
            name=f"{subject}-{_tag(sop_uid)}",
            subject=subject,
            session=_tag(first["study_uid"]),
            series=own,
            segments=tuple(segments),
            layers=tuple(layers.values()),
            image_path=_image(dataset, own, images),
            split=own.get("split"),
        )


def _image(dataset: Dataset, series: dict[str, Any], images: Path | None) -> Path | None:
    if images is None:
        relative = series.get("image_path")
        return dataset.root / relative if relative else None
    path = images / f"{series['source_series_uid']}.nii.gz"
    return path if path.is_file() else None


def _plain(text: str) -> str:
    return _PLAIN.sub("", text)


def _tag(*parts: str) -> str:
    """Ten hexadecimal digits of a hash: tells names apart that lose characters on the way."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:10]
