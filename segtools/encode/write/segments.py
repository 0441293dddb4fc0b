"""SegmentSequence (PS3.3 C.8.20.4): what each number means, as items' bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtools.encode.dicom.dictionary import DICTIONARY
from segtools.encode.dicom.text import fit, is_uid
from segtools.encode.frames.masks import refuse
from segtools.finding import Finding
from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segtools.decode.volume import Segment
    from segtools.encode.dicom.elements import Encoding
    from segtools.encode.frames.masks import Kind

BACKGROUND_CATEGORY = Concept("309825002", "SCT", "Spatial and Relational Concept")
BACKGROUND = Concept("125040", "DCM", "Background")
_ALGORITHMS = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")
UNNAMED_ALGORITHM = "unspecified"


def check_segments(segments: Sequence[Segment], kind: Kind) -> list[Segment]:
    """Segments in order of their numbers.

    Raises
    ------
    UsageError
        ``invalid-mask``: numbers that `kind` does not allow; no label, category or type.
    """
    ordered = sorted(segments, key=lambda segment: segment.number)
    numbers = [segment.number for segment in ordered]
    if not numbers:
        raise refuse("SegmentSequence (0062,0002) needs at least one segment.")
    if kind == "LABELMAP":
        if len(set(numbers)) < len(numbers) or numbers[0] < 1 or numbers[-1] > 65_535:
            raise refuse(f"SegmentNumber (0062,0004) must be unique and 1 to 65535, not {numbers[:50]}.")
    elif numbers != list(range(1, len(numbers) + 1)):
        raise refuse(
            f"SegmentNumber (0062,0004) must be 1 to n in {kind} (PS3.3 C.8.20.2.4), not {numbers[:50]}."
        )
    elif numbers[-1] > 65_535:
        raise refuse(f"There are {numbers[-1]} segments; SegmentNumber (0062,0004) ends at 65535.")
    for segment in ordered:
        if segment.category is None or segment.type is None or not (segment.label or "").strip():
            raise refuse(f"Segment {segment.number} lacks its label, category or type.")
        if segment.algorithm_type not in (None, *_ALGORITHMS):
            raise refuse(
                f"SegmentAlgorithmType of segment {segment.number} is {segment.algorithm_type!r}; "
                f"it must be one of {', '.join(_ALGORITHMS)}."
            )
        if segment.tracking_uid and not is_uid(segment.tracking_uid):
            raise refuse(f"TrackingUID of segment {segment.number} is {segment.tracking_uid[:64]!r}, no UID.")
        if segment.cielab and not all(0 <= part <= 65_535 for part in segment.cielab):
            raise refuse(
                f"RecommendedDisplayCIELabValue of segment {segment.number} is {segment.cielab}; "
                "0 to 65535 can be written."
            )
        _check_codes(segment)
    return ordered


def _check_codes(segment: Segment) -> None:
    concepts = (
        segment.category,
        segment.type,
        *segment.type_modifiers,
        *segment.regions,
        *segment.region_modifiers,
    )
    for concept in concepts:
        if concept is None or not all(
            part.strip() for part in (concept.value, concept.scheme, concept.meaning)
        ):
            raise refuse(
                f"Segment {segment.number} has the code {tuple(concept or ())}; "
                "value, scheme and meaning are needed."
            )
        for part, vr in ((concept.value, "UC"), (concept.scheme, "SH")):
            _, change = fit(vr, part)
            if change:
                raise refuse(f"Segment {segment.number} has the code {part[:40]!r}: {change}.")


class SegmentItems:
    """Writes items of SegmentSequence.

    Attributes
    ----------
    findings : list of Finding
        ``text-adjusted``, ``algorithm-unnamed``.
    """

    def __init__(self, encoding: Encoding, *, colors: bool) -> None:
        self._encoding = encoding
        self._colors = colors
        self.findings: list[Finding] = []

    def item(self, segment: Segment) -> bytes:
        """Item of a segment that `check_segments` let pass."""
        assert segment.category is not None  # noqa: S101 - check_segments
        assert segment.type is not None  # noqa: S101
        kind = segment.algorithm_type or "MANUAL"
        name = self._text(segment, "SegmentAlgorithmName", segment.algorithm_name)
        if kind != "MANUAL" and name is None:
            message = (
                f"Segment {segment.number} is {kind}, but its algorithm has no name; "
                f"written as {UNNAMED_ALGORITHM!r}."
            )
            self.findings.append(Finding("algorithm-unnamed", message, "segment", segment.number))
            name = UNNAMED_ALGORITHM
        description = segment.description
        if description is None and len(segment.label or "") > 64:
            description = segment.label  # the whole of what the label could not hold
        return self._encoding.items(
            {
                "SegmentedPropertyCategoryCodeSequence": [self._code(segment, segment.category)],
                "SegmentNumber": segment.number,
                "SegmentLabel": self._text(segment, "SegmentLabel", segment.label),
                "SegmentDescription": self._text(segment, "SegmentDescription", description),
                "SegmentAlgorithmType": kind,
                "SegmentAlgorithmName": name,
                "SegmentedPropertyTypeCodeSequence": [
                    self._code(
                        segment,
                        segment.type,
                        "SegmentedPropertyTypeModifierCodeSequence",
                        segment.type_modifiers,
                    )
                ],
                "AnatomicRegionSequence": self._regions(segment),
                "RecommendedDisplayCIELabValue": segment.cielab if self._colors else None,
                "TrackingID": self._text(segment, "TrackingID", segment.tracking_id),
                "TrackingUID": segment.tracking_uid or None,
            }
        )

    def background(self) -> bytes:
        """Item of 0, where 0 occurs and means nothing (PS3.3 C.8.20.2.3)."""
        return self._encoding.items(
            {
                "SegmentedPropertyCategoryCodeSequence": [self._encoding.code(BACKGROUND_CATEGORY)],
                "SegmentNumber": 0,
                "SegmentLabel": "Background",
                "SegmentAlgorithmType": "MANUAL",
                "SegmentedPropertyTypeCodeSequence": [self._encoding.code(BACKGROUND)],
            }
        )

    def _regions(self, segment: Segment) -> list[bytes] | None:
        """Regions; modifiers belong to the first, as reading them back takes them together."""
        name = "AnatomicRegionModifierSequence"
        items = [
            self._code(segment, region, name, segment.region_modifiers if n == 0 else ())
            for n, region in enumerate(segment.regions)
        ]
        return items or None

    def _code(
        self, segment: Segment, concept: Concept, keyword: str = "", modifiers: Sequence[Concept] = ()
    ) -> bytes:
        more = {keyword: [self._code(segment, modifier) for modifier in modifiers]} if modifiers else {}
        meaning = self._text(segment, "CodeMeaning", concept.meaning) or concept.value[:64]
        return self._encoding.code((concept.value.strip(), concept.scheme.strip(), meaning), **more)

    def _text(self, segment: Segment, keyword: str, text: str | None) -> str | None:
        if not text:
            return None
        fitted, change = fit(DICTIONARY[keyword][1], text)
        if change:
            message = f"{keyword} of segment {segment.number}: {change}."
            self.findings.append(
                Finding("text-adjusted", message, "segment", segment.number, observed=text[:64])
            )
        return fitted or None
