"""One way to look into an image's header, whoever read it: our own reader or pydicom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from segtools.decode.dicom.charset import decode_text
from segtools.decode.dicom.file import DicomFile, open_structure, parse_decimals
from segtools.decode.dicom.mmap import map_file
from segtools.encode.dicom.dictionary import DICTIONARY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydicom.dataset import Dataset

    from segtools.decode.dicom.elements import Element

_PIXEL_DATA = 0x7FE00010


class SourceHeader(Protocol):
    """Values of a data set or of an item; None or empty where there is none."""

    def has(self, keyword: str) -> bool:
        """Whether the element is there, be it empty."""

    def text(self, keyword: str) -> str | None:
        """Text as stored, decoded, without padding; several values parted by backslashes."""

    def integer(self, keyword: str) -> int | None:
        """First integer."""

    def items(self, keyword: str) -> list[SourceHeader]:
        """Items of a sequence."""

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Decimals; NaN for what is no number."""

    def meta_uid(self, keyword: str) -> str | None:
        """UID of the file meta group: a second witness of class and instance."""


class StructureHeader:
    """A header that our own reader found; see `SourceHeader`."""

    def __init__(
        self, structure: DicomFile, elements: Mapping[int, Element], meta: Mapping[str, str]
    ) -> None:
        self._structure, self._elements, self._meta = structure, elements, meta

    def has(self, keyword: str) -> bool:
        """See `Header.has`."""
        return DICTIONARY[keyword][0] in self._elements

    def text(self, keyword: str) -> str | None:
        """See `Header.text`."""
        return self._structure.text(self._elements.get(DICTIONARY[keyword][0]))

    def integer(self, keyword: str) -> int | None:
        """See `Header.integer`."""
        return self._structure.integer(self._elements.get(DICTIONARY[keyword][0]))

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """See `Header.numbers`."""
        return parse_decimals(self._structure.value(self._elements.get(DICTIONARY[keyword][0]), 4096))

    def items(self, keyword: str) -> list[SourceHeader]:
        """See `Header.items`."""
        element = self._elements.get(DICTIONARY[keyword][0])
        return [StructureHeader(self._structure, item, {}) for item in self._structure.items(element)]

    def meta_uid(self, keyword: str) -> str | None:
        """See `Header.meta_uid`."""
        return self._meta.get(keyword)


class DatasetHeader:
    """A header in a pydicom data set, looked at without pydicom's own validation; see `SourceHeader`."""

    def __init__(self, dataset: Dataset, charset: str | None = None) -> None:
        self._dataset = dataset
        own = self._raw("SpecificCharacterSet", "")
        self._charset = own if own is not None else charset or ""

    def has(self, keyword: str) -> bool:
        """See `Header.has`."""
        return DICTIONARY[keyword][0] in self._dataset

    def text(self, keyword: str) -> str | None:
        """See `Header.text`."""
        return self._raw(keyword, self._charset) or None

    def integer(self, keyword: str) -> int | None:
        """See `Header.integer`."""
        element = self._item(keyword)
        value = getattr(element, "value", None)
        if isinstance(value, bytes):
            if DICTIONARY[keyword][1] == "US":
                return int.from_bytes(value[:2], "little") if len(value) >= 2 else None
            value = value.decode("latin-1")
        try:
            return int(str(value).strip(" \0"))
        except ValueError:
            return None

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """See `Header.numbers`."""
        return parse_decimals((self._raw(keyword, "") or "").encode("latin-1", "replace"))

    def items(self, keyword: str) -> list[SourceHeader]:
        """See `Header.items`."""
        found = self._dataset.get(keyword)
        return [DatasetHeader(item, self._charset) for item in found or ()]

    def meta_uid(self, keyword: str) -> str | None:
        """See `Header.meta_uid`."""
        meta = getattr(self._dataset, "file_meta", None)
        value = meta.get(keyword) if meta is not None else None
        return str(value) if value else None

    def _item(self, keyword: str) -> object:
        tag = DICTIONARY[keyword][0]
        return self._dataset.get_item(tag) if tag in self._dataset else None

    def _raw(self, keyword: str, charset: str) -> str | None:
        value = getattr(self._item(keyword), "value", None)
        if value is None:
            return None
        if isinstance(value, bytes):
            return decode_text(value.strip(b" \0"), charset)[0]
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            return str(value).strip(" \0")
        if hasattr(value, "original_string"):  # PersonName
            return str(value)
        return "\\".join(str(part) for part in value)


def read_header(path: Path) -> StructureHeader:
    """Header of a file, read by our own reader up to its pixels.

    Raises
    ------
    SegError
        ``empty-file``, ``not-dicom``, ``truncated``, ``malformed-structure``.
    OSError
    """
    raw = map_file(path)
    structure = open_structure(raw)
    start = bytes(raw[:2048])
    pixels = structure.elements.get(_PIXEL_DATA)
    if pixels is not None and structure.raw is raw:
        # A series has hundreds of files, and a mapping keeps its file open: only the header is kept.
        short = raw[pixels.offset - 8 : pixels.offset - 4] == b"\xe0\x7f\x10\x00"
        structure = open_structure(bytes(raw[: pixels.offset - (8 if short else 12)]))
    elif structure.raw is raw:
        structure = open_structure(bytes(raw))
    return StructureHeader(structure, structure.elements, _meta(start))


def _meta(start: bytes) -> dict[str, str]:
    """Class and instance as the file meta group names them (PS3.10 7.1), always explicit little endian."""
    names = {
        b"\x02\x00\x02\x00UI": "MediaStorageSOPClassUID",
        b"\x02\x00\x03\x00UI": "MediaStorageSOPInstanceUID",
    }
    found: dict[str, str] = {}
    if start[128:132] != b"DICM":
        return found
    for head, name in names.items():
        position = start.find(head, 132)
        if position >= 0:
            length = int.from_bytes(start[position + 6 : position + 8], "little")
            found[name] = start[position + 8 : position + 8 + length].strip(b" \0").decode("latin-1")
    return found
