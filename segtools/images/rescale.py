"""From stored values to what they measure: rescale (PS3.3 C.11.1, C.7.6.16.2.9) and SUV.

Whole-numbered results that fit stay int16, so that nothing is rounded; everything else is float32.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from segtools.decode.dicom.file import parse_decimals
from segtools.errors import CorruptSegError, UnsupportedSegError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile, Element

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_TRANSFORMATION = 0x00289145
_INTERCEPT, _SLOPE, _TYPE = 0x00281052, 0x00281053, 0x00281054
_INT16 = np.iinfo(np.int16)


class Rescale(NamedTuple):
    """``value = stored * slope + intercept``."""

    slope: float = 1.0
    intercept: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers stay whole numbers."""
        return self.slope == int(self.slope) and self.intercept == int(self.intercept)


def rescales(structure: DicomFile, frame_count: int) -> list[Rescale]:
    """Rescale of every frame of an image; the identity where none is given.

    Raises
    ------
    CorruptSegError
        ``invalid-attribute``: a slope or intercept that is no number, or a slope of 0.
    """
    shared = _of_group(structure, next(iter(structure.items(_SHARED)), {}))
    top = shared or _of_dataset(structure, structure.elements)
    if structure.per_frame is None or not structure.per_frame.count:
        return [top or Rescale()] * frame_count
    per_frame = [_of_group(structure, item) for item in structure.items(_PER_FRAME)]
    if len(per_frame) < frame_count:
        raise CorruptSegError(
            "frame-count-mismatch",
            f"The image has {frame_count} frames and {len(per_frame)} items in "
            "PerFrameFunctionalGroupsSequence (5200,9230).",
            tag="(5200,9230)",
        )
    return [own or top or Rescale() for own in per_frame[:frame_count]]


def _of_group(structure: DicomFile, group: dict[int, Element]) -> Rescale | None:
    for item in structure.items(group.get(_TRANSFORMATION)):
        return _of_dataset(structure, item)
    return None


def _of_dataset(structure: DicomFile, elements: dict[int, Element]) -> Rescale | None:
    found = {}
    for tag, keyword in ((_SLOPE, "RescaleSlope"), (_INTERCEPT, "RescaleIntercept")):
        if numbers := parse_decimals(structure.value(elements.get(tag))):
            found[keyword] = numbers[0]
    if not found:
        return None
    slope, intercept = found.get("RescaleSlope", 1.0), found.get("RescaleIntercept", 0.0)
    if not np.isfinite(slope) or not np.isfinite(intercept) or slope == 0:
        raise CorruptSegError(
            "invalid-attribute",
            f"RescaleSlope is {slope:g} and RescaleIntercept {intercept:g}; both must be numbers, "
            "the slope not 0.",
            tag="(0028,1053)",
        )
    return Rescale(slope, intercept)


def fits_int16(low: int, high: int, rescale: Rescale) -> bool:
    """Whether stored values from `low` to `high` become whole numbers of int16."""
    if not rescale.is_whole:
        return False
    ends = sorted(value * int(rescale.slope) + int(rescale.intercept) for value in (low, high))
    return ends[0] >= _INT16.min and ends[1] <= _INT16.max


def rescaled(
    stored: npt.NDArray[np.int32], rescale: Rescale, dtype: np.dtype[np.int16 | np.float32]
) -> npt.NDArray[np.int16 | np.float32]:
    """Apply a rescale, exactly: in int32 for int16, in float64 before float32.

    Parameters
    ----------
    stored : (rows, columns) int32 ndarray
    rescale : Rescale
    dtype : int16 or float32
    """
    if dtype == np.int16:
        if rescale.slope == 1:
            return (stored + np.int32(rescale.intercept)).astype(np.int16)
        return (stored * np.int32(rescale.slope) + np.int32(rescale.intercept)).astype(np.int16)
    return (stored * rescale.slope + rescale.intercept).astype(np.float32)


def suv_body_weight_factor(structure: DicomFile) -> float:
    """Factor from Bq/mL to the standardised uptake value by body weight, g/mL.

    ``SUVbw = activity [Bq/mL] × weight [g] / dose at the time the series is corrected to [Bq]``: the
    vendor-neutral computation of QIBA's FDG-PET profile. Decay correction must be ``START`` (to the
    series' start) or ``ADMIN`` (to the injection).

    Raises
    ------
    UnsupportedSegError
        ``suv-unavailable``: units other than Bq/mL, no correction for decay, or an attribute missing.
    """
    units = structure.text(0x00541001)
    if units != "BQML":
        raise _no_suv(f"Units (0054,1001) is {units!r}; BQML is needed")
    corrections = (structure.text(0x00280051) or "").split("\\")
    if not {"ATTN", "DECY"} <= set(corrections):
        raise _no_suv(f"CorrectedImage (0028,0051) is {corrections}; ATTN and DECY are needed")
    weight = _first(structure, structure.elements, 0x00101030)
    dose_item = next(iter(structure.items(0x00540016)), {})
    dose = _first(structure, dose_item, 0x00181074)
    half_life = _first(structure, dose_item, 0x00181075)
    if not weight or not dose or not half_life or min(weight, dose, half_life) <= 0:
        raise _no_suv(
            f"PatientWeight is {weight}, RadionuclideTotalDose {dose}, RadionuclideHalfLife {half_life}; "
            "all three must be positive"
        )
    correction = structure.text(0x00541102)
    if correction == "ADMIN":
        return weight * 1000 / dose
    if correction != "START":
        raise _no_suv(f"DecayCorrection (0054,1102) is {correction!r}; START or ADMIN is needed")
    seconds = (_series_start(structure) - _injection(structure, dose_item)).total_seconds()
    if not 0 <= seconds < 24 * 3600:
        raise _no_suv(f"the series starts {seconds:.0f} s after the injection")
    return float(weight * 1000 / (dose * 2 ** (-seconds / half_life)))


def _series_start(structure: DicomFile) -> datetime:
    return _moment(structure.text(0x00080021), structure.text(0x00080031), "SeriesDate and SeriesTime")


def _injection(structure: DicomFile, item: dict[int, Element]) -> datetime:
    if moment := structure.text(item.get(0x00181078)):
        return _moment(moment[:8], moment[8:].split("+")[0].split("-")[0], "RadiopharmaceuticalStartDateTime")
    date = structure.text(0x00080021)
    return _moment(date, structure.text(item.get(0x00181072)), "RadiopharmaceuticalStartTime")


def _moment(date: str | None, time: str | None, keyword: str) -> datetime:
    digits = (date or "") + (time or "").split(".")[0].ljust(6, "0")
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S")
    except ValueError:
        raise _no_suv(f"{keyword} is {digits!r}") from None


def _first(structure: DicomFile, elements: dict[int, Element], tag: int) -> float | None:
    numbers: Sequence[float] = parse_decimals(structure.value(elements.get(tag)))
    return numbers[0] if numbers and np.isfinite(numbers[0]) else None


def _no_suv(why: str) -> UnsupportedSegError:
    return UnsupportedSegError("suv-unavailable", f"SUV cannot be computed: {why}.")
