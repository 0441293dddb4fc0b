"""Segments of a ``.seg.nrrd`` as 3D Slicer names, colours and codes them.

``TerminologyEntry`` is ``context~category~type~modifier~region context~region~region modifier``, each
part but the contexts a code ``scheme^value^meaning``; an absent code is ``^^``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.decode.volume import Segment
from segtools.encode.metadata.totalsegmentator import segment_of
from segtools.errors import UsageError
from segtools.terminology.color import srgb_to_cielab
from segtools.terminology.concepts import Concept
from segtools.terminology.names import slug

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segtools.encode.inputs.mask import MaskFile


def segments_of(mask: MaskFile) -> dict[tuple[int, int], Segment]:
    """Segments of a file by layer and label.

    Raises
    ------
    UsageError
        ``metadata-invalid``: a segment has no terminology, and its name is not a known structure's.
    """
    return {key: _segment(mask.name, key[1], fields) for key, fields in mask.named.items()}


def _segment(file: str, label: int, fields: Mapping[str, str]) -> Segment:
    name = fields.get("Name") or fields.get("ID") or f"Segment {label}"
    tags = dict(part.partition(":")[::2] for part in fields.get("Tags", "").split("|") if part)
    cielab = _color(fields.get("Color", ""))
    entry = next(
        (
            value
            for key, value in tags.items()
            if key.strip() in ("TerminologyEntry", "Segmentation.TerminologyEntry")
        ),
        "",
    )
    codes = [_code(part) for part in entry.split("~")]
    codes += [None] * (7 - len(codes))
    category, of_type, modifier, region, of_region = codes[1], codes[2], codes[3], codes[5], codes[6]
    kind = tags.get("DICOM.SegmentAlgorithmType") or tags.get("SegmentAlgorithmType")
    if category is None or of_type is None:
        known = segment_of(slug(name), label)
        if known is None:
            raise UsageError(
                "metadata-invalid",
                f"{file}: segment {name!r} (label {label}) has no TerminologyEntry, and its name "
                "is not that of a known structure.",
                hint="Set its terminology in Slicer, or describe the labels with --meta.",
            )
        category, of_type, modifier = known.category, known.type, next(iter(known.type_modifiers), None)
        region, of_region = next(iter(known.regions), None), next(iter(known.region_modifiers), None)
    return Segment(
        label,
        name,
        category=category,
        type=of_type,
        type_modifiers=(modifier,) if modifier else (),
        regions=(region,) if region else (),
        region_modifiers=(of_region,) if of_region and region else (),
        algorithm_type=kind if kind in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL") else None,
        algorithm_name=tags.get("DICOM.SegmentAlgorithmName") or None,
        cielab=cielab,
    )


def _code(part: str) -> Concept | None:
    pieces = part.split("^")
    return Concept(pieces[1], pieces[0], pieces[2]) if len(pieces) == 3 and all(pieces) else None


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        parts = [float(part) for part in text.split()]
    except ValueError:
        return None
    if len(parts) != 3 or not all(0 <= part <= 1 for part in parts):
        return None
    red, green, blue = (round(255 * part) for part in parts)
    return srgb_to_cielab((red, green, blue))
