"""An image volume as NIfTI with its JSON sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segtools.files import dump_json
from segtools.nifti.writer import write_volume

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from segtools.images.read import ImageVolume


def write_images(path: Path, volume: ImageVolume, *, compression_level: int = 1) -> int:
    """Write one ``.nii.gz``, all or nothing; returns its bytes.

    Raises
    ------
    EnvironmentProblem
        ``disk-full``.
    WriteError
        ``write-failed``.
    """
    description = f"{volume.attributes.get('Modality', '')} {volume.unit}"
    return write_volume(
        path,
        volume.array,
        volume.grid.affine_ras,
        description=description,
        is_label_map=False,
        compression_level=compression_level,
    )


def image_sidecar(volume: ImageVolume, *, converter: str, extra: Mapping[str, Any] | None = None) -> bytes:
    """JSON sidecar: what the values mean and which images they are from.

    Parameters
    ----------
    volume : ImageVolume
    converter : str
        ``name/version``.
    extra : mapping of str to JSON value, optional
        Licence, DOI and the like.
    """
    name, _, version = converter.partition("/")
    first = volume.rescales[0]
    content: dict[str, Any] = {
        **volume.attributes,
        "GeneratedBy": [{"Name": name, "Version": version}],
        "SeriesInstanceUID": volume.series_uid,
        "FrameOfReferenceUID": volume.frame_of_reference_uid,
        "SOPInstanceUIDs": list(dict.fromkeys(volume.sop_uids)),
        "Units": volume.unit,
        "RescaleSlope": first.slope if len(set(volume.rescales)) == 1 else None,
        "RescaleIntercept": first.intercept if len(set(volume.rescales)) == 1 else None,
        "RescaleVariesBySlice": len(set(volume.rescales)) > 1,
        **(extra or {}),
    }
    return dump_json({key: value for key, value in content.items() if value is not None})
