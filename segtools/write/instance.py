"""Write one decoded SEG instance: its volumes, sidecars and rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segtools.dataset.layout import sidecar_name, volume_name
from segtools.files import component, write_bytes
from segtools.nifti.writer import write_volume
from segtools.version import DECODER
from segtools.write.rows import finding_row, grid_and_measures, segment_row
from segtools.write.sidecars import json_sidecar, tsv_sidecar

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from segtools.dataset.layout import VolumeKind
    from segtools.dataset.stage import Stage, StoredFile
    from segtools.decode.measure import SegmentMeasure
    from segtools.decode.volume import SegVolume
    from segtools.series import SelectedSeries


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What is written of an instance.

    Attributes
    ----------
    volumes : {"labelmap", "masks", "none"}
        Label maps; label maps and one mask per segment; rows only.
    compression_level : int
        Of isal, 0 to 3.
    """

    volumes: Literal["labelmap", "masks", "none"] = "labelmap"
    compression_level: int = 1


@dataclass(frozen=True, slots=True)
class WrittenInstance:
    """What was written: rows of the catalog, and files with their bytes and hash."""

    segments: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    files: list[StoredFile] = field(default_factory=list)


def write_instance(
    stage: Stage,
    series: SelectedSeries,
    volume: SegVolume,
    measures: Iterable[SegmentMeasure],
    *,
    source_bytes: int,
    source_md5: str | None,
    options: WriteOptions | None = None,
    revision: str | None = None,
) -> WrittenInstance:
    """Write volumes and sidecars of an instance; give its catalog rows.

    With a `revision` (`segtools.dataset.layout.revision`) all names are new, so what the last commit names
    stays as it is. Without one, what an earlier call wrote of the instance under other names goes.

    Raises
    ------
    EnvironmentProblem
        ``disk-full``.
    WriteError
        ``write-failed``.
    """
    options = options or WriteOptions()
    writer = _Writer(stage, series, volume, options, revision)
    by_number = {measure.number: measure for measure in measures}
    uid = volume.header.sop_instance_uid
    rows = [
        segment_row(series, segment, volume.header, volume.findings)
        | grid_and_measures(volume, by_number[segment.number])
        | {"layer": volume.layer_of.get(segment.number, 0) if volume.layers else None}
        | {"source_bytes": source_bytes, "source_md5": source_md5}
        for segment in volume.segments
    ]
    if options.volumes != "none":
        writer.volumes(rows)
        writer.sidecars(rows)
        writer.tidy()
    findings = [
        finding_row(item, seg_series_uid=series.seg_series_uid, seg_sop_uid=uid) for item in volume.findings
    ]
    return WrittenInstance(rows, findings, writer.files)


class _Writer:
    """One instance's files; fills the path columns of the rows."""

    def __init__(
        self,
        stage: Stage,
        series: SelectedSeries,
        volume: SegVolume,
        options: WriteOptions,
        revision: str | None,
    ) -> None:
        self._stage, self._layout = stage, stage.layout
        self._revision = revision
        self._series = series
        self._volume = volume
        self._options = options
        self._uid = volume.header.sop_instance_uid
        self._folder = self._layout.series_folder(
            series.collection_id, series.patient_id, series.seg_series_uid
        )
        self.files: list[StoredFile] = []

    def volumes(self, rows: list[dict[str, Any]]) -> None:
        layers = self._volume.layers
        paths = []
        for index, layer in enumerate(layers):
            name = self._name("dseg", layer=index if len(layers) > 1 else None)
            paths.append(self._nifti(name, layer))
        for row in rows:
            number = row["segment_number"]
            if number in self._volume.fractions:
                row["fraction_path"] = self._fraction(number)
                continue
            if paths:
                row["volume_path"] = paths[row["layer"]]
            if self._options.volumes == "masks" and row["voxel_count"]:
                mask = self._volume.mask(number).view(np.uint8)
                row["mask_path"] = self._nifti(self._name("mask", label=number), mask)

    def _fraction(self, number: int) -> str:
        name = self._name("probseg", label=number)
        full = self._volume.header.max_fractional_value or 1
        return self._nifti(name, self._volume.fractions[number], is_label_map=False, slope=1 / full)

    def _name(self, kind: VolumeKind, *, layer: int | None = None, label: int | None = None) -> str:
        return volume_name(self._uid, kind, layer=layer, label=label, revision=self._revision)

    def _nifti(
        self,
        name: str,
        array: npt.NDArray[np.uint8 | np.uint16],
        *,
        is_label_map: bool = True,
        slope: float = 1.0,
    ) -> str:
        relative = self._layout.within(self._folder, name)
        with self._stage.stage(relative) as path:
            write_volume(
                path,
                array,
                self._volume.grid.affine_ras,
                description=f"DICOM SEG {self._uid}",
                is_label_map=is_label_map,
                slope=slope,
                compression_level=self._options.compression_level,
            )
        self.files.append(self._stage.files[-1])
        return relative

    def sidecars(self, rows: list[dict[str, Any]]) -> None:
        names = [file.path.rpartition("/")[2] for file in self.files]
        kind = "dseg" if self._volume.layers else "probseg"
        for extension, content in (
            ("json", json_sidecar(self._series, self._volume, files=names, decoder=DECODER)),
            ("tsv", tsv_sidecar(rows)),
        ):
            name = sidecar_name(self._uid, kind, extension, revision=self._revision)
            with self._stage.stage(self._layout.within(self._folder, name)) as path:
                write_bytes(path, content)
            self.files.append(self._stage.files[-1])

    def tidy(self) -> None:
        """Remove what an earlier call wrote under other names, where no commit will do that."""
        if self._revision is None:
            written = {self._layout.absolute(file.path) for file in self.files}
            for path in self._layout.absolute(self._folder).glob(f"{component(self._uid)}_*"):
                if path not in written:
                    path.unlink()
