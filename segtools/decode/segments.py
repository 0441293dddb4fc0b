"""Segments and their meaning: SegmentSequence (0062,0002), coded concepts, text in any character set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from segtools.decode.dicom.charset import decode_text
from segtools.decode.palette import palette_rgb
from segtools.decode.volume import Segment
from segtools.finding import Finding
from segtools.terminology.concepts import Concept
from segtools.terminology.snomed import SNOMED_RT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from segtools.decode.dicom.file import DicomFile, Element

_ALGORITHM_TYPES = frozenset({"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"})
_BACKGROUND = ("125040", "DCM")

_SPECIFIC_CHARACTER_SET = 0x00080005
_CODE_VALUE, _LONG_CODE_VALUE, _URN_CODE_VALUE = 0x00080100, 0x00080119, 0x00080120
_CODING_SCHEME, _CODE_MEANING = 0x00080102, 0x00080104
_ANATOMIC_REGION, _ANATOMIC_REGION_MODIFIER = 0x00082218, 0x00082220
_PRIMARY_STRUCTURE, _PRIMARY_STRUCTURE_MODIFIER = 0x00082228, 0x00082230
_PIXEL_PADDING_VALUE = 0x00280120
_SEGMENTATION_TYPE = 0x00620001
_SEGMENT_SEQUENCE = 0x00620002
_CATEGORY, _TYPE, _TYPE_MODIFIER = 0x00620003, 0x0062000F, 0x00620011
_NUMBER, _LABEL, _DESCRIPTION = 0x00620004, 0x00620005, 0x00620006
_ALGORITHM_IDENTIFICATION, _ALGORITHM_TYPE, _ALGORITHM_NAME = 0x00620007, 0x00620008, 0x00620009
_IDENTIFIED_ALGORITHM_NAME = 0x00660036
_CIELAB = 0x0062000D
_TRACKING_ID, _TRACKING_UID = 0x00620020, 0x00620021
_KNOWN_BYTES = 4096
"""Longer code sequences are not remembered; a code with its modifiers has some hundred bytes."""


def read_segments(structure: DicomFile) -> tuple[tuple[Segment, ...], list[Finding]]:
    """Segments that a file describes, sorted by number, and what was doubtful about them.

    The background of a label map is no segment: the item whose number is PixelPaddingValue, or
    segment 0 with the type (DCM, 125040), is left out (PS3.3 C.8.20.2). A file without
    SegmentSequence has no segments.

    Findings: ``duplicate-segment-number``, ``segment-number-assumed``, ``incomplete-code``,
    ``retired-code``, ``missing-algorithm``, ``undeclared-character-set``.
    """
    reader = _Reader(structure)
    segments: dict[int, Segment] = {}
    unnumbered: list[tuple[int, Mapping[int, Element]]] = []
    sequence = structure.elements.get(_SEGMENT_SEQUENCE)
    for index, item in enumerate(structure.items(sequence)):
        number = reader.numbers(item, _NUMBER)
        if not number:
            unnumbered.append((index, item))
        elif number[0] in segments:
            reader.note(
                "duplicate-segment-number",
                f"SegmentNumber (0062,0004) {number[0]} stands in more than one item; the first was taken.",
                number[0],
            )
        else:
            segments[number[0]] = reader.segment(item, number[0])
    for index, nameless in unnumbered:
        _assume_number(reader, segments, index, nameless)
    for background in _background(reader, segments):
        segments.pop(background, None)
    reader.summarise()
    return tuple(segments[number] for number in sorted(segments)), reader.findings


def _assume_number(
    reader: _Reader, segments: dict[int, Segment], index: int, item: Mapping[int, Element]
) -> None:
    number = index + 1  # PS3.3 C.8.20.2.4: from 1, by 1, in the order of the items
    if number in segments:
        message = f"Item {index + 1} of SegmentSequence has no SegmentNumber (0062,0004); it was left out."
        reader.note("segment-number-assumed", message)
        return
    message = f"Item {index + 1} of SegmentSequence has no SegmentNumber (0062,0004); its place was taken."
    reader.note("segment-number-assumed", message, number)
    segments[number] = reader.segment(item, number)


def _background(reader: _Reader, segments: Mapping[int, Segment]) -> set[int]:
    """Values of a label map that are background; items may describe them."""
    top = reader.structure.elements
    if reader.text(top, _SEGMENTATION_TYPE) != "LABELMAP":
        return set()
    background = set(reader.numbers(top, _PIXEL_PADDING_VALUE)[:1])
    zero = segments.get(0)
    if zero is not None and zero.type is not None and zero.type[:2] == _BACKGROUND:
        background.add(0)
    return background


class _Reader:
    """Items of SegmentSequence as `Segment`, with the findings gathered on the way."""

    def __init__(self, structure: DicomFile) -> None:
        self.structure = structure
        self.findings: list[Finding] = []
        self.order: Literal["little", "big"] = "little" if structure.little_endian else "big"
        self.charset = self._raw(structure.elements, _SPECIFIC_CHARACTER_SET).decode("latin-1")
        self.retired: dict[str, set[int]] = {}
        self.without_algorithm: set[int] = set()
        self.number: int | None = None
        self._looked_into: dict[int, list[dict[int, Element]]] = {}
        self._known: dict[
            tuple[int, int | None, str, bytes], tuple[tuple[Concept, ...], tuple[Concept, ...]]
        ] = {}

    def note(self, code: str, message: str, number: int | None = None) -> None:
        """Record a finding, of a segment where `number` is given."""
        self.findings.append(
            Finding(code, message, scope="instance" if number is None else "segment", segment_number=number)
        )

    def numbers(self, item: Mapping[int, Element], tag: int) -> tuple[int, ...]:
        """Values of a US element; empty where it is absent or empty."""
        raw = self._raw(item, tag)
        return tuple(int.from_bytes(raw[i : i + 2], self.order) for i in range(0, len(raw) - 1, 2))

    def text(self, item: Mapping[int, Element], tag: int, charset: str | None = None) -> str | None:
        """Text of an element without its padding; None where it is absent or empty."""
        raw = self._raw(item, tag).strip(b" \0")
        if not raw:
            return None
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        text, declared = decode_text(raw, self.charset if charset is None else charset)
        if not declared:
            message = f"Text ({tag >> 16:04X},{tag & 0xFFFF:04X}) does not fit its SpecificCharacterSet."
            self.note("undeclared-character-set", message, self.number)
        return text

    def segment(self, item: Mapping[int, Element], number: int) -> Segment:
        """Segment that an item of SegmentSequence describes."""
        self.number = number
        self._looked_into.clear()
        charset = self._charset(item, self.charset)
        types, type_modifiers = self._concepts(item, _TYPE, charset, _TYPE_MODIFIER)
        categories, _ = self._concepts(item, _CATEGORY, charset)
        regions, region_modifiers = self._concepts(item, _ANATOMIC_REGION, charset, _ANATOMIC_REGION_MODIFIER)
        primary, primary_modifiers = self._concepts(
            item, _PRIMARY_STRUCTURE, charset, _PRIMARY_STRUCTURE_MODIFIER
        )
        beside, _ = self._concepts(item, _TYPE_MODIFIER, charset)  # some writers put it beside the type
        # IDC's table has a column for region modifiers inside the type: who writes them there means a side.
        inside = self._modifiers(item, _TYPE, charset, _ANATOMIC_REGION_MODIFIER)
        for name, concepts in (("Category", categories), ("Type", types)):
            if not concepts:
                keyword = f"SegmentedProperty{name}CodeSequence"
                self.note("incomplete-code", f"Segment {number} has no {keyword}.", number)
        algorithm_type, algorithm_name = self._algorithm(item, charset, number)
        cielab = self.numbers(item, _CIELAB)
        segment = Segment(
            number=number,
            label=self.text(item, _LABEL, charset),
            description=self.text(item, _DESCRIPTION, charset),
            category=categories[0] if categories else None,
            type=types[0] if types else None,
            type_modifiers=type_modifiers + beside,
            regions=regions + primary,
            region_modifiers=inside + region_modifiers + primary_modifiers,
            algorithm_type=algorithm_type,
            algorithm_name=algorithm_name,
            cielab=(cielab[0], cielab[1], cielab[2]) if len(cielab) == 3 else None,
            rgb=palette_rgb(self.structure, number),
            tracking_id=self.text(item, _TRACKING_ID, charset),
            tracking_uid=self.text(item, _TRACKING_UID, charset),
        )
        self.number = None
        return segment

    def summarise(self) -> None:
        """Record what concerns many segments at once as one finding each."""
        for scheme, numbers in sorted(self.retired.items()):
            self.note("retired-code", f"{_listed(numbers)}: codes of the retired scheme {scheme}.")
        if self.without_algorithm:
            numbers = self.without_algorithm
            message = (
                "SegmentAlgorithmType (0062,0008) or SegmentAlgorithmName (0062,0009) is absent or undefined."
            )
            self.note("missing-algorithm", f"{_listed(numbers)}: {message}")

    def _algorithm(
        self, item: Mapping[int, Element], charset: str, number: int
    ) -> tuple[str | None, str | None]:
        kind = self.text(item, _ALGORITHM_TYPE, charset)
        name = self.text(item, _ALGORITHM_NAME, charset)
        if name is None:
            for identification in self._items(item, _ALGORITHM_IDENTIFICATION):
                name = name or self.text(identification, _IDENTIFIED_ALGORITHM_NAME, charset)
        if kind not in _ALGORITHM_TYPES:
            kind = None
        if kind is None or (name is None and kind != "MANUAL"):
            self.without_algorithm.add(number)
        return kind, name

    def _concepts(
        self, item: Mapping[int, Element], tag: int, charset: str, modifier: int | None = None
    ) -> tuple[tuple[Concept, ...], tuple[Concept, ...]]:
        """Concepts of a code sequence, and those of the modifier sequences inside its items.

        Files repeat few sequences many times: the same bytes mean the same, unless something is to be
        noted of the segment.
        """
        element = item.get(tag)
        if element is None:
            return (), ()
        raw = self.structure.raw[element.offset : element.end]
        known = self._known.get((tag, modifier, charset, raw))
        if known is not None:
            return known
        noted = len(self.findings)
        concepts: list[Concept] = []
        modifiers: list[Concept] = []
        for code in self._items(item, tag):
            concept = self._concept(code, tag, self._charset(code, charset))
            if concept is not None:
                concepts.append(concept)
            if modifier is not None:
                modifiers += self._concepts(code, modifier, self._charset(code, charset))[0]
        found = tuple(concepts), tuple(modifiers)
        retired = any(concept.scheme in SNOMED_RT for each in found for concept in each)
        if len(self.findings) == noted and not retired and len(raw) <= _KNOWN_BYTES:
            self._known[tag, modifier, charset, raw] = found
        return found

    def _modifiers(
        self, item: Mapping[int, Element], tag: int, charset: str, modifier: int
    ) -> tuple[Concept, ...]:
        """Concepts of the modifier sequences inside the items of a code sequence."""
        found: list[Concept] = []
        for code in self._items(item, tag):
            found += self._concepts(code, modifier, self._charset(code, charset))[0]
        return tuple(found)

    def _concept(self, code: Mapping[int, Element], tag: int, charset: str) -> Concept | None:
        urn = self.text(code, _URN_CODE_VALUE, charset)
        value = self.text(code, _CODE_VALUE, charset) or self.text(code, _LONG_CODE_VALUE, charset) or urn
        scheme = self.text(code, _CODING_SCHEME, charset)
        meaning = self.text(code, _CODE_MEANING, charset)
        if not (value and meaning and (scheme or value == urn)):
            message = f"Code in ({tag >> 16:04X},{tag & 0xFFFF:04X}): {value!r}, {scheme!r}, {meaning!r}."
            self.note("incomplete-code", message, self.number)
        if scheme in SNOMED_RT and self.number is not None:
            self.retired.setdefault(scheme, set()).add(self.number)
        if not (value or scheme or meaning):
            return None
        return Concept(value or "", scheme or "", meaning or "")

    def _charset(self, item: Mapping[int, Element], inherited: str) -> str:
        if _SPECIFIC_CHARACTER_SET not in item:
            return inherited
        return self._raw(item, _SPECIFIC_CHARACTER_SET).decode("latin-1")

    def _items(self, item: Mapping[int, Element], tag: int) -> Iterable[Mapping[int, Element]]:
        """Items of a sequence; looked into once, though codes and their modifiers are asked for apart."""
        element = item.get(tag)
        if element is None:
            return ()
        items = self._looked_into.get(element.offset)
        if items is None:
            items = self._looked_into[element.offset] = self.structure.items(element)
        return items

    def _raw(self, item: Mapping[int, Element], tag: int) -> bytes:
        return self.structure.value(item.get(tag))


def _listed(numbers: Iterable[int]) -> str:
    """Numbers as ``Segments 1-3, 7``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)
    return f"Segments {text}" if len(runs) > 1 or runs[0][0] != runs[0][1] else f"Segment {text}"
