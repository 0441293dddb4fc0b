"""Text of DICOM elements in the character sets of PS3.3 C.12.1.1.2, with Python's own codecs.

Code extensions with escape sequences (PS3.5 6.1.2.5) are rare enough in SEG to leave them to pydicom,
whose import costs more than reading a file; it is imported when the first one is met.
"""

from __future__ import annotations

import re
import warnings

_STRAY = re.compile(r"[^A-Za-z0-9_ ]")

_GB2312 = b"\x1b$)A"

_CODECS = {
    "": "ascii",
    "6": "ascii",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "144": "iso8859_5",
    "127": "iso8859_6",
    "126": "iso8859_7",
    "138": "iso8859_8",
    "148": "iso8859_9",
    "203": "iso8859_15",
    "166": "cp874",
    "13": "shift_jis",
    "192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}


def decode_text(raw: bytes, charset: str) -> tuple[str, bool]:
    """Text of `raw`, and whether its bytes fit the declared character set.

    Bytes that do not fit are read as UTF-8 where that is possible and as Latin-1 where it is not:
    what writers put there who forgot to declare it.

    Parameters
    ----------
    raw : bytes
        Value without padding.
    charset : str
        SpecificCharacterSet (0008,0005) as it is in the file, values parted by backslashes.
    """
    # A defined term has none but these; what else is in it (a NUL) no codec's name can have.
    terms = [_STRAY.sub("", term).strip() for term in charset.split("\\")]
    if b"\x1b" in raw and len(terms) > 1:
        text = _decode_escapes(raw, terms)
        if text is not None:
            return text, True
    for codec, fits in ((_codec(terms[0]), True), ("utf_8", False)):
        try:
            return raw.decode(codec), fits
        except LookupError:
            continue
        except UnicodeDecodeError as error:
            if _is_cut(error, codec):
                return raw[: error.start].decode(codec), False
    return raw.decode("latin_1"), False


def _is_cut(error: UnicodeDecodeError, codec: str) -> bool:
    """Whether the text only ends within a character of several bytes.

    A writer that cuts a label to 64 bytes leaves ``E8 82 9D E8``: of the second character, one byte.
    """
    is_multibyte = codec in ("utf_8", "gb18030", "gbk", "shift_jis")
    return (
        is_multibyte
        and error.start > 0
        and error.end >= len(error.object) > error.start >= len(error.object) - 3
    )


def _codec(term: str) -> str:
    name = term.upper().replace("_", " ").removeprefix("ISO ").removeprefix("2022 ").removeprefix("IR ")
    return _CODECS.get(name.strip(), "unknown")


def _decode_escapes(raw: bytes, terms: list[str]) -> str | None:
    """Text with code extensions (PS3.5 6.1.2.5); None where its bytes do not fit.

    ``1B 24 29 41`` designates GB 2312 (ISO 2022 IR 58) to G1: until the next escape, ``B8 CE`` is one
    character, 肝. pydicom leaves that escape in the text.
    """
    if _GB2312 in raw and "ISO 2022 IR 58" in [term.replace("_", " ").upper() for term in terms]:
        raw = raw.replace(_GB2312, b"")
        if b"\x1b" not in raw:
            try:
                return raw.decode("gb2312")
            except UnicodeDecodeError:
                return None
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.valuerep import TEXT_VR_DELIMS

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns and replaces where we want to know
        try:
            return str(decode_bytes(raw, convert_encodings(terms), TEXT_VR_DELIMS))
        except (ValueError, LookupError, UserWarning):  # UnicodeError is a ValueError
            return None
