"""BINARY, FRACTIONAL and LABELMAP into each other, and any codec into any other.

What is not changed is copied as bytes: patient, study, equipment, segments, references. Another
codec alone keeps every functional group and the identity of the object; another type makes new frames
and therefore a new object in a new series, whose UIDs follow from the old ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segtools.decode import read
from segtools.decode.instance import Instance, open_instance
from segtools.decode.pixels.codecs import CODECS
from segtools.encode.dicom.dictionary import DICTIONARY
from segtools.encode.dicom.elements import Encoding
from segtools.encode.dicom.uids import uid_from
from segtools.encode.frames.codecs import IMPLICIT, names_for, title
from segtools.encode.frames.masks import Masks
from segtools.encode.transcode.frames import ConvertedFrames
from segtools.encode.transcode.verbatim import item_bytes, open_explicit, top_level
from segtools.encode.write.file import Pixels, SegObject, check_length
from segtools.encode.write.seg import LABEL_MAP_STORAGE, PROCESSING, SEGMENTATION_STORAGE
from segtools.encode.write.segments import SegmentItems
from segtools.errors import UsageError
from segtools.terminology.color import srgb_to_cielab
from segtools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from segtools.decode.dicom.file import DicomFile
    from segtools.decode.volume import SegVolume

_SERIES = DICTIONARY["SeriesInstanceUID"][0]
Target = Literal["BINARY", "LABELMAP"]
_PALETTE = tuple(
    DICTIONARY[f"{color}PaletteColorLookupTable{part}"][0]
    for color in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
)
# fmt: off
_CHANGED = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID",
    "InstanceNumber", "ContributingEquipmentSequence", "DimensionOrganizationSequence",
    "DimensionIndexSequence", "DimensionOrganizationType", "SamplesPerPixel",
    "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "ICCProfile", "SegmentationType",
    "SegmentationFractionalType", "MaximumFractionalValue", "SegmentsOverlap",
    "SegmentSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)
# fmt: on


@dataclass(frozen=True)
class Transcoded:
    """One file written.

    Attributes
    ----------
    path : Path
    size_bytes, source_bytes : int
    kind, transfer_syntax_uid : str
    frame_count, segment_count, voxels : int
        Voxels: labelled ones, proven to be those of the source.
    """

    path: Path
    size_bytes: int
    source_bytes: int
    kind: str
    transfer_syntax_uid: str
    frame_count: int
    segment_count: int
    voxels: int


def transcode(
    source: Path,
    output: Path,
    *,
    kind: Target | None = None,
    transfer_syntax: str | None = None,
    split: bool = False,
) -> list[Transcoded]:
    """Write a segmentation in another form, and prove that its voxels are the same.

    Parameters
    ----------
    source, output : Path
    kind : {"BINARY", "LABELMAP"}, optional
        SegmentationType; default: as it is.
    transfer_syntax : str, optional
        UID; default: as it is, or RLE for a LABELMAP, Explicit VR Little Endian for BINARY.
    split : bool
        Where segments share voxels: several label maps, ``NAME-1.dcm`` …, one object each.

    Raises
    ------
    UsageError
        ``transcode-unlawful``: the type cannot hold it; ``quality-failed``.
    SegError
        The source cannot be read.
    """
    structure = open_explicit(source)
    instance = open_instance(structure)
    before = read(source)
    target = kind or instance.kind
    syntax = transfer_syntax or _default(instance, target)
    _check_syntax(instance, target, syntax)
    if target == instance.kind:
        made = [_recompressed(instance, syntax)]
        parts = [before]
    else:
        parts = _parts(before, target, split)
        made = [
            _converted(instance, part, target, syntax, n, len(parts)) for n, part in enumerate(parts, start=1)
        ]
    done = []
    for n, (each, part) in enumerate(zip(made, parts, strict=True), start=1):
        path = output if len(made) == 1 else output.with_name(f"{output.stem}-{n}{output.suffix}")
        size = each.write(path)
        voxels = _prove(path, part, _new_numbers(part, target))
        done.append(
            Transcoded(
                path,
                size,
                before.header.file_bytes,
                target,
                syntax,
                each.frame_count,
                len(part.segments),
                voxels,
            )
        )
    return done


def _default(instance: Instance, target: str) -> str:
    old = instance.structure.transfer_syntax_uid
    if target == instance.kind and old != IMPLICIT:
        return old
    return "1.2.840.10008.1.2.5" if target == "LABELMAP" else "1.2.840.10008.1.2.1"


def _check_syntax(instance: Instance, target: str, syntax: str) -> None:
    bits = 1 if target == "BINARY" else 8
    names = {uid: name for uid, name in names_for(bits).items() if uid != IMPLICIT}
    if syntax not in names:
        raise _unlawful(f"{target} cannot be stored as {syntax}; it can as {', '.join(names.values())}")
    codec = CODECS.get(syntax)
    if codec and min(instance.size) < codec.smallest_side:
        raise _unlawful(f"{title(syntax)} needs {codec.smallest_side} rows and columns, not {instance.size}")
    if target != instance.kind and target == "FRACTIONAL":
        raise _unlawful("only a FRACTIONAL segmentation has fractions")


def _unlawful(what: str) -> UsageError:
    return UsageError("transcode-unlawful", f"{what}.")


# --- another codec ---------------------------------------------------------------------------------


def _recompressed(instance: Instance, syntax: str) -> SegObject:
    """The same object with its frames stored otherwise; SOPInstanceUID stays, as no voxel changes."""
    structure = instance.structure
    header = b"".join(part for _, part in sorted(top_level(structure, ()).items()))
    count = instance.frames.count
    bits = structure.integer(DICTIONARY["BitsAllocated"][0]) or 1
    bits = 1 if instance.kind == "BINARY" else bits
    if bits == 1 and (structure.integer(DICTIONARY["BitsAllocated"][0]) or 1) != 1:
        raise _unlawful("a BINARY segmentation of 8 bits is against the standard; transcode it to LABELMAP")
    return SegObject(
        structure.uid(DICTIONARY["SOPClassUID"][0]) or "",
        structure.uid(DICTIONARY["SOPInstanceUID"][0]) or "",
        syntax,
        header,
        _pixels(_frames(instance), bits, instance.size, count, syntax),
        count,
    )


def _frames(instance: Instance) -> Iterator[npt.NDArray[Any]]:
    for n in range(instance.frames.count):
        yield instance.frames.frame(n)


def _pixels(
    planes: Iterator[npt.NDArray[Any]],
    bits: int,
    size: tuple[int, int],
    count: int,
    syntax: str,
) -> Pixels:
    codec = CODECS.get(syntax)
    if codec is not None and codec.encode is not None:
        encode = codec.encode
        return Pixels((encode(plane, bits) for plane in planes), 0, True, "OB")
    length = -(-count * size[0] * size[1] * bits // 8)
    check_length(length, syntax)
    if bits == 1:
        return Pixels(_packed(planes), length, False, "OB")
    dtype = "<u2" if bits == 16 else "u1"
    return Pixels(
        (plane.astype(dtype, copy=False).tobytes() for plane in planes),
        length,
        False,
        "OW" if bits == 16 else "OB",
    )


def _packed(planes: Iterator[npt.NDArray[Any]]) -> Iterator[bytes]:
    """Bits of frames without gaps: 8 frames are whole bytes, whatever their size."""
    group: list[npt.NDArray[Any]] = []
    for plane in planes:
        group.append(plane.reshape(-1) != 0)
        if len(group) == 8:
            yield np.packbits(np.concatenate(group), bitorder="little").tobytes()
            group = []
    if group:
        yield np.packbits(np.concatenate(group), bitorder="little").tobytes()


# --- another type ----------------------------------------------------------------------------------


def _parts(volume: SegVolume, target: str, split: bool) -> list[SegVolume]:
    """What goes into one object each."""
    if volume.fractions:
        raise _unlawful("true fractions (FRACTIONAL with more than two values) have no labels")
    if target == "LABELMAP" and len(volume.layers) > 1:
        if not split:
            raise _unlawful(
                f"segments share voxels ({len(volume.layers)} layers), which one LABELMAP cannot hold; "
                "--split writes several, BINARY holds them all"
            )
        parts = []
        for n, layer in enumerate(volume.layers):
            segments = tuple(s for s in volume.segments if volume.layer_of[s.number] == n)
            parts.append(
                replace(volume, layers=(layer,), layer_of={s.number: 0 for s in segments}, segments=segments)
            )
        return parts
    return [volume]


def _new_numbers(volume: SegVolume, target: str) -> dict[int, int]:
    """Number of each segment in the new file: BINARY asks for 1 to n (PS3.3 C.8.20.2.4)."""
    numbers = [segment.number for segment in volume.segments]
    if target != "BINARY":
        return {number: number for number in numbers}
    return {number: n for n, number in enumerate(numbers, start=1)}


def _converted(
    instance: Instance, volume: SegVolume, target: str, syntax: str, number: int, count: int
) -> SegObject:
    structure, encoding = instance.structure, Encoding(explicit=True)
    new = _new_numbers(volume, target)
    masks = Masks(volume.grid.shape, volume.layers, {new[n]: (volume.layer_of[n], n) for n in new})
    frames = ConvertedFrames(structure, encoding, volume.grid, masks, target)
    old_uid = structure.uid(DICTIONARY["SOPInstanceUID"][0]) or ""
    uid = str(uid_from(old_uid, target, number))
    elements = {
        "SOPClassUID": LABEL_MAP_STORAGE if target == "LABELMAP" else SEGMENTATION_STORAGE,
        "SOPInstanceUID": uid,
        "SeriesInstanceUID": uid_from(structure.uid(_SERIES) or "", target),
        "InstanceNumber": number if count > 1 else structure.integer(DICTIONARY["InstanceNumber"][0]) or 1,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "NumberOfFrames": len(frames.frames),
        "BitsAllocated": frames.bits,
        "BitsStored": frames.bits,
        "HighBit": frames.bits - 1,
        "PixelRepresentation": 0,
        "SegmentationType": target,
        "SegmentsOverlap": "YES" if len(volume.layers) > 1 else "NO",
        "PixelPaddingValue": 0 if frames.zero_occurs else None,
        "SegmentSequence": _segments(structure, encoding, volume, new, frames.zero_occurs),
        "SharedFunctionalGroupsSequence": [frames.shared()],
        "ContributingEquipmentSequence": _equipment(structure, encoding, instance.kind, target, old_uid),
        **frames.dimensions(uid),
    }
    kept = top_level(structure, {*(DICTIONARY[keyword][0] for keyword in _CHANGED), *_PALETTE})
    made = {DICTIONARY[k][0]: encoding.element(k, v) for k, v in elements.items() if v is not None}
    header = b"".join(part for _, part in sorted((kept | made).items()))
    per_frame = b"".join(frames.items())
    header += encoding.head(0x52009230, "SQ", len(per_frame)) + per_frame
    pixels = frames.packed() if syntax not in CODECS and frames.bits == 1 else None
    if pixels is not None:
        length = -(-len(frames.frames) * instance.size[0] * instance.size[1] // 8)
        check_length(length, syntax)
        data = Pixels(pixels, length, False, "OB")
    else:
        data = _pixels(frames.planes(), frames.bits, instance.size, len(frames.frames), syntax)
    return SegObject(str(elements["SOPClassUID"]), uid, syntax, header, data, len(frames.frames))


def _segments(
    structure: DicomFile, encoding: Encoding, volume: SegVolume, new: dict[int, int], zero_occurs: bool
) -> list[bytes]:
    """Items of the segments as they are, but their numbers; colours of a palette as CIELab."""
    number_tag, color_tag = DICTIONARY["SegmentNumber"][0], DICTIONARY["RecommendedDisplayCIELabValue"][0]
    found: dict[int, bytes] = {}
    by_number = {segment.number: segment for segment in volume.segments}
    for item in structure.items(DICTIONARY["SegmentSequence"][0]):
        number = structure.integer(item.get(number_tag))
        if number is None or number not in by_number or number in found:
            continue
        changed = {number_tag: encoding.element("SegmentNumber", new[number])}
        rgb = by_number[number].rgb
        if rgb is not None and color_tag not in item:
            changed[color_tag] = encoding.element("RecommendedDisplayCIELabValue", srgb_to_cielab(rgb))
        found[number] = item_bytes(structure, item, changed)
    writer = SegmentItems(encoding, colors=True)
    background = [writer.background()] if zero_occurs else []
    return background + [found[n] for n in sorted(found)]


def _equipment(structure: DicomFile, encoding: Encoding, old: str, new: str, uid: str) -> list[bytes]:
    items = [
        item_bytes(structure, item)
        for item in structure.items(DICTIONARY["ContributingEquipmentSequence"][0])
    ]
    mine = {
        "Manufacturer": "idc-cohort-pipeline",
        "ManufacturerModelName": "idcseg transcode",
        "SoftwareVersions": __version__,
        "ContributionDescription": f"{old} to {new}, voxels unchanged; made from SOPInstanceUID {uid}",
        "PurposeOfReferenceCodeSequence": [encoding.code(PROCESSING)],
    }
    return [*items, encoding.items(mine)]


def _prove(path: Path, before: SegVolume, new: dict[int, int]) -> int:
    """Count the labelled voxels after reading back; refuse if any is elsewhere.

    Parameters
    ----------
    path : Path
    before : SegVolume
    new : dict of int to int
        SegmentNumber of each segment in the new file.
    """
    after = read(path)
    to_new = np.linalg.inv(after.grid.affine_lps) @ before.grid.affine_lps
    start = round(float(to_new[2, 3]))
    if before.fractions:
        same = set(before.fractions) == set(after.fractions) and all(
            np.array_equal(after.fractions[n], array) for n, array in before.fractions.items()
        )
        counts = sum(int(np.count_nonzero(array)) for array in before.fractions.values())
    elif len(before.layers) == 1 and len(after.layers) == 1:
        layer = before.layers[0]
        if any(old != number for old, number in new.items()):
            table = np.zeros(1 << (8 * layer.dtype.itemsize), after.layers[0].dtype)
            table[list(new)] = list(new.values())
            layer = table[layer]
        same, counts = _same(layer, after.layers[0], start)
    else:
        pairs = [_same(before.mask(old), after.mask(number), start) for old, number in new.items()]
        same, counts = all(each for each, _ in pairs), sum(count for _, count in pairs)
    if not same:
        raise UsageError("quality-failed", f"{path.name} has other voxels than its source.")
    return counts


def _same(before: npt.NDArray[Any], after: npt.NDArray[Any], start: int) -> tuple[bool, int]:
    """Whether slices of `before`, shifted by `start`, are those of `after`; labelled voxels."""
    total = after_total = 0
    for k, plane in enumerate(before):
        count = int(np.count_nonzero(plane))
        total += count
        at = k + start
        if count and not (0 <= at < len(after) and np.array_equal(after[at], plane)):
            return False, total
    after_total = sum(int(np.count_nonzero(plane)) for plane in after)
    return total == after_total, total
