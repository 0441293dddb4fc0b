"""Compressed frames: what foreign encoders write is read back, and bounded when it is hostile."""

from __future__ import annotations

import contextlib
import re
import struct
import time
import zlib
from importlib.metadata import requires

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from segtools.decode.dicom.file import Element
from segtools.decode.pixels.codecs import CODECS
from segtools.decode.pixels.frames import PixelDescription
from segtools.decode.pixels.open import open_frames
from segtools.errors import CorruptSegError, SegError, UnsupportedSegError, UsageError
from tests.factories import codecs as encoders

RLE, DEFLATED_FRAME, WRAPPED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1.98"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_PROCESS_14, JPEG_PROCESS_14_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_2000, JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


def describe(shape, bits, uid, kind=None):
    frames, rows, columns = shape
    kind = kind or ("BINARY" if bits == 1 else "LABELMAP")
    return PixelDescription(rows, columns, bits, bits, 1, "MONOCHROME2", uid, kind, frames)


def opened(value: bytes, description: PixelDescription, **options):
    buffer = memoryview(b"\0" * 3 + value)
    element = Element(0x7FE00010, "OB", 3, -1, len(buffer))
    frames, findings = open_frames(buffer, element, description, **options)
    return frames, [finding.code for finding in findings]


def stack(frames):
    return np.array([frames.frame(n) for n in range(frames.count)])


def labels_of(shape, bits, seed=0):
    """Blocks with some noise, as label maps are."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint16 if bits == 16 else np.uint8)
    top = {1: 1, 8: 255, 16: 65535}[bits]
    labels[:, shape[1] // 3 :, shape[2] // 2 :] = rng.integers(1, top + 1)
    noisy = rng.random(shape) < 0.1
    labels[noisy] = rng.integers(0, top + 1, int(noisy.sum()))
    return labels


def rle_by_library(frame, bits):
    from rle.utils import encode_pixel_data

    rows, columns = frame.shape
    return encode_pixel_data(
        frame.tobytes(),
        rows=rows,
        columns=columns,
        samples_per_pixel=1,
        bits_allocated=max(bits, 8),
        byteorder="<",
    )


def jpeg_ls_by_library(frame, bits):
    import jpeg_ls

    rows, columns = frame.shape
    return bytes(jpeg_ls.encode_buffer(frame.tobytes(), rows, columns, 1, max(bits, 8)))


def process_14(frame, bits):
    return encoders.jpeg_process_14(frame, min(bits, 8), predictor=frame.shape[0] % 7 + 1)


ENCODERS = {
    "RLE": (RLE, rle_by_library),
    "RLE by hand": (RLE, encoders.rle),
    "deflate": (DEFLATED_FRAME, encoders.deflate),
    "wrapped": (WRAPPED, encoders.raw),
    "JPEG-LS": (JPEG_LS, jpeg_ls_by_library),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("bits", [1, 8, 16])
@given(shape=st.tuples(st.integers(1, 2), st.integers(16, 30), st.integers(16, 30)), seed=st.integers(0, 999))
def test_round_trip(name, bits, shape, seed):
    uid, encode = ENCODERS[name]
    labels = labels_of(shape, bits, seed)
    value = encapsulate([encode(frame, bits) for frame in labels])
    frames, codes = opened(value, describe(shape, bits, uid))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("uid", [JPEG_PROCESS_14, JPEG_PROCESS_14_SV1])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_jpeg_lossless(bits, uid, predictor):
    labels = labels_of((2, 20, 23), bits)
    value = encapsulate([encoders.jpeg_process_14(frame, 8, predictor) for frame in labels])
    frames, codes = opened(value, describe(labels.shape, bits, uid))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)


def test_jpeg_lossless_of_16_bits_is_not_decoded():
    """Of the libraries we keep none does (libjpeg-turbo in Pillow: 8 bits)."""
    labels = labels_of((1, 20, 23), 16)
    value = encapsulate([encoders.jpeg_process_14(frame, 16) for frame in labels])
    frames, _ = opened(value, describe(labels.shape, 16, JPEG_PROCESS_14))
    with pytest.raises(UnsupportedSegError) as caught:
        frames.frame(0)
    assert caught.value.code == "unsupported-transfer-syntax"


@pytest.mark.parametrize("uid", [JPEG_BASELINE, JPEG_EXTENDED])
def test_jpeg_baseline(uid):
    fractions = np.zeros((1, 20, 24), np.uint8)
    fractions[:, 5:15, 3:] = 200
    value = encapsulate([encoders.jpeg_baseline(fractions[0], 8)])
    frames, codes = opened(value, describe(fractions.shape, 8, uid, "FRACTIONAL"))
    assert codes == ["lossy-compression"]
    assert np.abs(stack(frames).astype(int) - fractions).max() <= 2


@pytest.mark.parametrize("uid", [uid for uid, codec in CODECS.items() if codec.encode])
@given(shape=st.tuples(st.integers(9, 40), st.integers(9, 40)), seed=st.integers(0, 999), data=st.data())
def test_the_registry_holds_together(uid, shape, seed, data):
    """What a row's encoder writes, its decoder and its second decoder read."""
    codec = CODECS[uid]
    bits = data.draw(st.sampled_from(codec.encodes_bits))
    shape = tuple(max(side, codec.smallest_side) for side in shape)
    frame = labels_of((1, *shape), bits, seed)[0]
    encoded = codec.encode(frame, bits)
    assert codec.starts_frame(encoded[:64])
    np.testing.assert_array_equal(
        codec.decode(encoded, describe((1, *shape), bits, uid)).reshape(shape), frame
    )
    np.testing.assert_array_equal(codec.second(encoded, *shape, bits).reshape(shape), frame)


@pytest.mark.parametrize("bits", [8, 16])
def test_frames_too_small_for_jpeg_ls_are_refused(bits):
    encode = CODECS[JPEG_LS].encode
    with pytest.raises(UsageError, match="1 × 1 cannot be written as JPEG-LS"):
        encode(labels_of((1, 1, 1), bits)[0], bits)
    assert encode(labels_of((1, 8, 8), bits)[0], bits)


@pytest.mark.parametrize("uid", CODECS)
def test_rows_of_the_registry_are_true(uid):
    codec = CODECS[uid]
    named = UID(uid).name
    assert named in (codec.name, uid)  # pydicom 3.0 does not know all
    needed = {re.split("[<>=]", text)[0] for text in requires("idc-cohort-pipeline") or []}
    assert {*codec.requires, *codec.second_requires} <= needed
    assert codec.second is None or codec.second is not codec.decode


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_jpeg_2000(bits):
    labels = labels_of((2, 37, 41), bits)
    value = encapsulate([encoders.jpeg_2000(frame, bits) for frame in labels])
    frames, codes = opened(value, describe(labels.shape, bits, JPEG_2000))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)


def test_jpeg_2000_in_a_jp2_file():
    from openjpeg.utils import encode_array

    labels = labels_of((1, 37, 41), 8)
    jp2 = bytes(encode_array(labels[0], photometric_interpretation=2, codec_format=1))
    assert jp2[4:8] == b"jP  "
    frames, _ = opened(encapsulate([jp2]), describe(labels.shape, 8, JPEG_2000))
    np.testing.assert_array_equal(frames.frame(0), labels[0])


def test_htj2k():
    frames, _ = opened(
        encapsulate([encoders.HTJ2K_FRAME]), describe((1, 16, 18), 8, "1.2.840.10008.1.2.4.201")
    )
    np.testing.assert_array_equal(frames.frame(0), encoders.HTJ2K_PIXELS)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (5, 7)])
def test_rle_of_packed_bits(rows, columns):
    masks = labels_of((3, rows, columns), 1)
    frames, codes = opened(
        encapsulate([encoders.rle_packed(m) for m in masks]), describe(masks.shape, 1, RLE)
    )
    assert codes == []
    np.testing.assert_array_equal(stack(frames), masks)


@pytest.mark.parametrize("uid", [JPEG_LS_NEAR, JPEG_2000_LOSSY])
def test_syntaxes_that_may_lose_are_reported(uid):
    labels = labels_of((2, 37, 41), 8)
    encode = encoders.jpeg_2000 if uid == JPEG_2000_LOSSY else jpeg_ls_by_library
    frames, codes = opened(
        encapsulate([encode(f, 8) for f in labels]), describe(labels.shape, 8, uid, "BINARY")
    )
    assert codes == ["lossy-compression", "unpacked-binary"]
    np.testing.assert_array_equal(stack(frames), labels)


# --- items ---------------------------------------------------------------------------------------


def jpeg_ls_frames(count=3):
    labels = labels_of((count, 20, 24), 8)
    return labels, [jpeg_ls_by_library(frame, 8) for frame in labels]


@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 3])
def test_fragments(has_table, fragments, count):
    labels, encoded = jpeg_ls_frames(count)
    value = encapsulate(encoded, fragments_per_frame=fragments, has_bot=has_table)
    frames, codes = opened(value + DELIMITER, describe(labels.shape, 8, JPEG_LS))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)


def items(*fragments, table=b""):
    return (
        b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(f)) + f for f in (table, *fragments)) + DELIMITER
    )


def starts_of(*fragments):
    return np.cumsum([0] + [len(f) + 8 for f in fragments[:-1]])


def test_extended_offsets_tell_fragments_apart():
    """Fragments of deflated frames look like nothing: only a table can say which belong together."""
    labels = labels_of((2, 20, 24), 8)
    first, second = (encoders.deflate(frame, 8) for frame in labels)
    fragments = first[:10], first[10:], second
    starts = starts_of(*fragments)
    extended = struct.pack("<2Q", starts[0], starts[2])
    frames, codes = opened(
        items(*fragments), describe(labels.shape, 8, DEFLATED_FRAME), extended_offsets=memoryview(extended)
    )
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)
    with pytest.raises(CorruptSegError) as caught:
        opened(items(*fragments), describe(labels.shape, 8, DEFLATED_FRAME))
    assert caught.value.code == "frame-count-mismatch"


@pytest.mark.parametrize("table", [(0, 7), (8, 0), (0, 2**32 - 1), (0,), (0, 0), (4, 12)])
def test_wrong_tables_are_ignored(table):
    labels, encoded = jpeg_ls_frames(2)
    value = items(*encoded, table=struct.pack(f"<{len(table)}I", *table))
    frames, codes = opened(value, describe(labels.shape, 8, JPEG_LS))
    assert codes == ["offset-table-ignored"]
    np.testing.assert_array_equal(stack(frames), labels)


def test_delimiters_within_a_fragment():
    labels = np.frombuffer(DELIMITER * 2 + b"\xfe\xff\x00\xe0\4\0\0\0" * 2, np.uint8).reshape(2, 4, 4)
    value = items(*(frame.tobytes() for frame in labels))
    frames, codes = opened(value, describe(labels.shape, 8, WRAPPED))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)


def test_missing_delimiter_is_tolerated_and_a_cut_item_is_not():
    labels, encoded = jpeg_ls_frames(3)
    value = items(*encoded)
    frames, codes = opened(value[:-8], describe(labels.shape, 8, JPEG_LS))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), labels)
    with pytest.raises(CorruptSegError) as caught:
        opened(value[:-12], describe(labels.shape, 8, JPEG_LS))
    assert caught.value.code == "truncated"
    frames, codes = opened(value[:-12], describe(labels.shape, 8, JPEG_LS), strict_length=False)
    assert codes == ["truncated-frames"]
    np.testing.assert_array_equal(stack(frames), labels[:2])


@pytest.mark.parametrize("described", [2, 4])
def test_other_number_of_frames(described):
    _, encoded = jpeg_ls_frames(3)
    with pytest.raises(CorruptSegError) as caught:
        opened(items(*encoded), describe((described, 20, 24), 8, JPEG_LS))
    assert caught.value.code == "frame-count-mismatch"


@pytest.mark.parametrize("item", [b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\x10\0\x10\0\2\0\0\0"])
def test_no_item(item):
    with pytest.raises(CorruptSegError) as caught:
        opened(items(b"")[:-8] + item + b"\0" * 20, describe((1, 2, 2), 8, WRAPPED))
    assert caught.value.code == "malformed-structure"


# --- hostile frames ------------------------------------------------------------------------------

BIG = (1, 60000, 60000)


def refused(encoded: bytes, shape, bits, uid) -> CorruptSegError:
    frames, _ = opened(items(encoded), describe(shape, bits, uid))
    with pytest.raises(CorruptSegError) as caught:
        frames.frame(0)
    assert caught.value.attrs["frame"] == 1
    return caught.value


def test_frames_too_small_for_their_size():
    """Refused from the ratio or the codestream's own header, before memory is taken."""
    small = np.ones((40, 40), np.uint8)
    assert refused(encoders.rle(small, 8), BIG, 8, RLE).code == "claims-exceed-bytes"
    assert refused(encoders.deflate(small, 8), BIG, 8, DEFLATED_FRAME).code == "claims-exceed-bytes"
    assert refused(encoders.jpeg_2000(small, 8), BIG, 8, JPEG_2000).code == "codec-failed"
    assert refused(jpeg_ls_by_library(small, 8), BIG, 8, JPEG_LS).code == "codec-failed"


@pytest.mark.parametrize("uid", [JPEG_2000, JPEG_LS])
def test_codestreams_that_agree_with_a_huge_header(uid):
    small = np.ones((40, 40), np.uint8)
    if uid == JPEG_2000:
        data = bytearray(encoders.jpeg_2000(small, 8))
        data[8:16] = data[24:32] = struct.pack(">II", BIG[2], BIG[1])
    else:
        data = bytearray(jpeg_ls_by_library(small, 8))
        at = data.index(b"\xff\xf7") + 5
        data[at : at + 4] = struct.pack(">HH", BIG[1], BIG[2])
    assert refused(bytes(data), BIG, 8, uid).code == "claims-exceed-bytes"


def test_a_scan_without_end_is_left_at_once():
    """CharLS counts zeros behind the last byte to 2**31: seconds for a frame of 40 bytes."""
    encoded = jpeg_ls_by_library(np.random.default_rng(3).integers(0, 255, (40, 40)).astype(np.uint8), 8)
    start = time.process_time()
    for size in range(60, 100):
        refused(encoded[:size] + bytes(30), (1, 40, 40), 8, JPEG_LS)
    spent = time.process_time() - start
    start = time.process_time()
    for _ in range(40):
        CODECS[JPEG_LS].second(encoded, 40, 40, 8)
    assert spent < 10 * (time.process_time() - start)  # much more, where a single one runs away


def test_inflate_stops_at_the_frame():
    bomb = zlib.compressobj(wbits=-15)
    data = bomb.compress(bytes(50_000_000)) + bomb.flush()
    assert refused(data, (1, 300, 300), 8, DEFLATED_FRAME).code == "inflate-limit"


def test_rle_that_decodes_to_more():
    assert refused(encoders.rle_frame([b"\x81\7" * 1000]), (1, 50, 50), 8, RLE).code == "codec-failed"


@pytest.mark.parametrize("bits", [1, 8])
def test_rle_runs_that_end_behind_their_segment(bits):
    """With bits, what could not be read as bytes was taken for packed bits: another mask, no error."""
    segment = bytes.fromhex("0001 fd00 fe01 35 0001ff000001ff0000")  # 35: 54 bytes as they are, 9 are there
    frame = encoders.rle_frame([segment])
    assert refused(frame, (1, 3, 5), bits, RLE).code == "codec-failed"
    with pytest.raises(CorruptSegError):
        CODECS[RLE].second(frame, 3, 5, bits)


@pytest.mark.parametrize(
    ("bits", "header"),
    [
        (8, (0, 64)),
        (8, (2, 64, 70)),
        (16, (1, 64)),
        (16, (2, 70, 64)),
        (16, (2, 64, 64)),
        (8, (1, 0)),
        (8, (1, 4000)),
        (8, (2**32 - 1, 64)),
    ],
)
def test_rle_headers(bits, header):
    data = struct.pack("<16I", *header, *[0] * (16 - len(header))) + b"\xf1\1" * 8
    assert refused(data, (1, 8, 8), bits, RLE).code == "codec-failed"


DAMAGED = {
    **ENCODERS,
    "JPEG 2000": (JPEG_2000, encoders.jpeg_2000),
    "JPEG Lossless": (JPEG_PROCESS_14, process_14),
    "JPEG": (JPEG_BASELINE, lambda frame, _: encoders.jpeg_baseline(frame.astype(np.uint8), 8)),
}


@pytest.mark.parametrize("name", DAMAGED)
@given(data=st.data())
def test_damaged_frames_raise_our_errors_only(name, data):
    uid, encode = DAMAGED[name]
    bits = data.draw(st.sampled_from([1, 8, 16]))
    labels = labels_of((1, 36, 33), bits)
    damaged = bytearray(encode(labels[0], bits))
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged) // 8))
    damaged = bytes(damaged[: len(damaged) - cut])
    frames, _ = opened(items(damaged), describe(labels.shape, bits, uid))
    with contextlib.suppress(SegError):
        frame = frames.frame(0)
        assert frame.shape == (36, 33)
        assert frame.dtype.itemsize <= 2
    if second := CODECS[uid].second:
        with contextlib.suppress(SegError):
            assert second(damaged, 36, 33, bits).size == 36 * 33
