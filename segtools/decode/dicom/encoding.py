"""Which encoding a data set is in: what the file's header says, held against the bytes.

The header names a transfer syntax (0002,0010); a few elements of the body tell whether it is true.
Explicit VR: ``08 00 05 00 43 53 0A 00`` is (0008,0005) CS with 10 bytes; read as implicit VR it would
have 0x000A5343 bytes. Where the body contradicts the header and fits exactly one other encoding, that
one is read.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from segtools.decode.dicom.elements import Cursor
from segtools.decode.dicom.headers import VRS
from segtools.errors import CorruptSegError, NotSegError
from segtools.finding import Finding

if TYPE_CHECKING:
    import mmap

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})

_TRANSFER_SYNTAX = 0x00020010
_META_STARTS = (b"\x02\0\0\0", b"\x02\0\x01\0", b"\x02\0\x02\0")
_LOOKED_AT = 4
"""Elements of the body that must fit an encoding."""


def read_meta(raw: bytes | mmap.mmap, findings: list[Finding]) -> tuple[int, str]:
    """Where the data set starts, and the transfer syntax that the file's header names.

    Raises
    ------
    NotSegError
        ``not-dicom``.
    CorruptSegError
        ``truncated``, ``malformed-structure``.
    """
    if raw[128:132] == b"DICM":
        position = 132
    elif raw[:4] in _META_STARTS:
        position = 0
        findings.append(Finding("missing-preamble", "The file has a meta group, but no preamble."))
    else:
        uid = _guess_syntax(raw, 0)
        findings.append(Finding("missing-preamble", "The file has no preamble and no meta group."))
        return 0, uid
    explicit = raw[position + 4 : position + 6] in VRS or raw[position : position + 2] != b"\x02\0"
    if not explicit:
        message = "The file meta group is in implicit VR; PS3.10 7.1 asks for explicit VR."
        findings.append(Finding("encoding-contradicts-header", message, tag="(0002,0000)"))
    cursor = Cursor(raw, explicit=explicit)
    uid = ""
    while position + 8 <= cursor.size and raw[position : position + 2] == b"\x02\x00":
        element = cursor.element(position, cursor.size)
        if element.tag == _TRANSFER_SYNTAX:
            uid = raw[element.offset : element.end].strip(b" \0").decode("latin-1")
        position = element.end
    findings += cursor.oddities.findings
    if not uid:
        findings.append(Finding("missing-preamble", "TransferSyntaxUID (0002,0010) is absent."))
        uid = _guess_syntax(raw, position)
    return position, uid


def _guess_syntax(raw: bytes | mmap.mmap, position: int) -> str:
    """Native transfer syntax that the first element of a data set fits."""
    head = raw[position : position + 8]
    if len(head) == 8 and head[:2] == b"\x08\x00":
        if head[4:6] in VRS:
            return EXPLICIT
        if int.from_bytes(head[4:8], "little") <= len(raw):
            return IMPLICIT
    if len(head) == 8 and head[:2] == b"\x00\x08" and head[4:6] in VRS:
        return BIG_ENDIAN
    raise NotSegError("not-dicom", "The file has no DICOM prefix, and no data set starts at its first byte.")


def body_syntax(raw: bytes | mmap.mmap, start: int, named: str) -> str:
    """Native transfer syntax that the data set is encoded in.

    The one that is named, or implied (compressed pixels stand in explicit VR), unless the elements fit
    exactly one other encoding.
    """
    implied = named if named in NATIVE else EXPLICIT
    if implied == DEFLATED:
        if _inflates(raw, start):
            return DEFLATED
    elif _fits(raw, start, implied):
        return implied
    fitting = [uid for uid in (EXPLICIT, IMPLICIT, BIG_ENDIAN) if uid != implied and _fits(raw, start, uid)]
    if implied != DEFLATED and not fitting and _inflates(raw, start):
        return DEFLATED
    return fitting[0] if len(fitting) == 1 else implied


def contradiction(named: str, found: str) -> Finding:
    """Make the finding ``encoding-contradicts-header`` of a data set."""
    return Finding(
        "encoding-contradicts-header",
        f"TransferSyntaxUID (0002,0010) is {named}, but the data set is encoded as {found} says.",
        observed=found,
        expected=named[:64],
        tag="(0002,0010)",
    )


def _fits(raw: bytes | mmap.mmap, position: int, uid: str) -> bool:
    """Whether the first elements of a data set fit an encoding: VRs exist, lengths fit, tags ascend."""
    cursor = Cursor(raw, explicit=uid != IMPLICIT, little_endian=uid != BIG_ENDIAN)
    before = 0
    for _ in range(_LOOKED_AT):
        if position >= cursor.size:
            return before > 0
        code = raw[position + 4 : position + 6]
        try:
            tag, _, length, offset = cursor.header(position, cursor.size)
            explicit = cursor.explicit and tag >> 16 != 0xFFFE
            if tag <= before or tag >> 16 < 8 or (explicit and code not in VRS):
                return False
            position = cursor.element(position, cursor.size).end if length else offset
        except CorruptSegError:
            return False
        before = tag
    return True


def _inflates(raw: bytes | mmap.mmap, start: int) -> bool:
    """Whether the bytes are a raw deflate stream of a data set."""
    try:
        head = zlib.decompressobj(-15).decompress(memoryview(raw)[start : start + (1 << 16)], 1 << 12)
    except zlib.error:
        return False
    return _fits(head, 0, EXPLICIT)
