"""What is to be encoded, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segtools.encode.write.options import Storage

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class EncodeJob:
    """What is to be encoded, and how.

    Attributes
    ----------
    masks : tuple of Path
        In the order of the description's files.
    source : Path or None
        Folder of the segmented images.
    meta : Path or None
        Description: dcmqi's JSON, BIDS table or YAML. None: the masks name their segments.
    labels : {"totalsegmentator"} or None
        A vocabulary that labels or file names belong to.
    storage : Storage
    use_label_ids : bool or None
        Whether labels become segment numbers as they are; None: as the description says, else where
        the type allows.
    regrid : {"nearest"} or None
        Resample a mask that is on another grid.
    only_described : bool
        Leave out labels without a description, rather than refuse the mask.
    series_uid : str or None
        Which source series, where the folder has several.
    patient_id : str or None
        Of a subject without images.
    series_number, series_description : optional
        Instead of the description's.
    seed : str or None
        Makes the object a function of its inputs.
    """

    masks: tuple[Path, ...]
    source: Path | None = None
    meta: Path | None = None
    labels: Literal["totalsegmentator"] | None = None
    storage: Storage = field(default_factory=Storage)
    use_label_ids: bool | None = None
    regrid: Literal["nearest"] | None = None
    only_described: bool = False
    series_uid: str | None = None
    patient_id: str | None = None
    series_number: int | None = None
    series_description: str | None = None
    seed: str | None = None
