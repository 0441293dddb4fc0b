"""Native packings: every length, frame by frame, whole and cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.decode.dicom.file import Element
from segtools.decode.pixels.frames import PixelDescription
from segtools.decode.pixels.open import open_frames
from segtools.errors import CorruptSegError, UnsupportedSegError

EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def describe(shape, bits=1, kind="BINARY", **more):
    frames, rows, columns = shape
    fields = {
        "rows": rows,
        "columns": columns,
        "bits_allocated": bits,
        "bits_stored": bits,
        "samples_per_pixel": 1,
        "photometric": "MONOCHROME2",
        "transfer_syntax_uid": EXPLICIT,
        "segmentation_type": kind,
        "frame_count": frames,
    }
    return PixelDescription(**{**fields, **more})


def opened(value: bytes, description: PixelDescription, *, length=None, **options):
    """Frames of a value that lies somewhere within a buffer."""
    buffer = memoryview(b"\xa5" * 5 + value)
    length = len(value) if length is None else length
    element = Element(0x7FE00010, "OW", 5, length, len(buffer))
    frames, findings = open_frames(buffer, element, description, **options)
    return frames, [finding.code for finding in findings]


def stack(frames):
    return np.array([frames.frame(n) for n in range(frames.count)])


def bits_of(masks) -> bytes:
    return np.packbits(np.asarray(masks, bool).ravel(), bitorder="little").tobytes()


def random_masks(shape, seed=0, density=0.5):
    masks = (np.random.default_rng(seed).random(shape) < density).astype(np.uint8)
    masks[:, -1, -1] = 1  # the last bit of each frame is set: a shift by one is seen
    return masks


shapes = st.tuples(st.integers(1, 9), st.integers(1, 19), st.integers(1, 19))


@given(shapes, st.integers(0, 2**16), st.booleans())
def test_standard_packing_of_any_size(shape, seed, padded):
    masks = random_masks(shape, seed)
    value = bits_of(masks)
    value += b"\0" * (len(value) % 2 if padded else 0)
    frames, codes = opened(value, describe(shape))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), masks)
    bits, offsets = frames.packed_bits
    flat = np.unpackbits(bits, bitorder="little")
    for n, start in enumerate(offsets):
        np.testing.assert_array_equal(flat[start : start + masks[n].size], masks[n].ravel())


@given(shapes, st.integers(0, 2**16))
def test_frames_padded_to_bytes(shape, seed):
    masks = random_masks(shape, seed)
    value = b"".join(bits_of(mask) for mask in masks)
    value += b"\0" * (len(value) % 2)
    frames, codes = opened(value, describe(shape))
    needed = -(-masks.size // 8)
    if len(value) > needed + needed % 2 or codes:  # the length alone tells
        assert codes == ["padded-frames"]
        np.testing.assert_array_equal(stack(frames), masks)


def test_equal_lengths_are_decided_by_spare_bits():
    masks = np.ones((2, 1, 7), np.uint8)
    frames, codes = opened(b"\x7f\x7f", describe(masks.shape))
    assert codes == ["padded-frames"]
    np.testing.assert_array_equal(stack(frames), masks)
    frames, codes = opened(bits_of(masks), describe(masks.shape))
    assert codes == []
    np.testing.assert_array_equal(stack(frames), masks)


@pytest.mark.parametrize("manufacturer", ["dcmjs.org", "Other"])
def test_segments_padded_to_bytes(manufacturer):
    masks = random_masks((12, 3, 11))
    segments = np.repeat([3, 1, 2, 9], 3)
    value = b"".join(bits_of(masks[segments == n]) for n in (3, 1, 2, 9))
    description = describe(masks.shape, segment_of_frame=segments, manufacturer=manufacturer)
    frames, codes = opened(value + b"\0" * (len(value) % 2), description)
    assert codes == ["padded-segments"]
    np.testing.assert_array_equal(stack(frames), masks)


def test_length_of_padding_with_bits_in_it_is_trailing_bytes():
    masks = random_masks((8, 3, 3))
    value = bits_of(masks) + b"\xff" * 7  # as long as 8 frames of 2 bytes
    frames, codes = opened(value, describe(masks.shape))
    assert codes == ["trailing-bytes"]
    np.testing.assert_array_equal(stack(frames), masks)


def test_bytes_under_one_bit():
    masks = random_masks((3, 5, 7))
    frames, codes = opened(masks.tobytes() + b"\0", describe(masks.shape))
    assert codes == ["unpacked-binary"]
    np.testing.assert_array_equal(stack(frames), masks)


def test_bytes_under_eight_bits_are_a_view():
    masks = random_masks((3, 5, 7)) * 255
    frames, codes = opened(masks.tobytes(), describe(masks.shape, bits=8))
    assert codes == ["unpacked-binary"]
    assert frames.packed_bits is None
    assert not frames.array.flags.owndata
    np.testing.assert_array_equal(frames.array, masks)


def test_bits_under_eight_bits():
    masks = random_masks((3, 5, 7))
    frames, codes = opened(bits_of(masks), describe(masks.shape, bits=8))
    assert codes == ["packed-despite-header"]
    np.testing.assert_array_equal(stack(frames), masks)
    with pytest.raises(CorruptSegError, match="14 bytes, 105 are needed") as caught:
        opened(bits_of(masks), describe(masks.shape, bits=8, kind="LABELMAP"))
    assert caught.value.code == "frame-count-mismatch"


@pytest.mark.parametrize("big_endian", [False, True])
def test_words(big_endian):
    labels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 2500
    value = labels.astype(">u2" if big_endian else "<u2").tobytes()
    uid = BIG_ENDIAN if big_endian else EXPLICIT
    description = describe(labels.shape, 16, "LABELMAP", transfer_syntax_uid=uid, big_endian=big_endian)
    frames, codes = opened(value, description)
    assert codes == []
    assert frames.frame(1).dtype.isnative
    np.testing.assert_array_equal(frames.array, labels)
    np.testing.assert_array_equal(stack(frames), labels)


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_big_endian_words_swap_the_bytes_in_them(bits, vr):
    masks = random_masks((3, 5, 7))
    value = bits_of(masks) if bits == 1 else masks.tobytes()
    value += b"\0" * (len(value) % 2)
    if vr == "OW":
        value = np.frombuffer(value, "<u2").astype(">u2").tobytes()
    kind = "BINARY" if bits == 1 else "LABELMAP"
    description = describe(masks.shape, bits, kind, transfer_syntax_uid=BIG_ENDIAN, big_endian=True, vr=vr)
    frames, codes = opened(value, description)
    assert codes == []
    np.testing.assert_array_equal(stack(frames), masks)


@given(shapes, st.integers(0, 2**16), st.data())
def test_cut_short(shape, seed, data):
    masks = random_masks(shape, seed)
    value = bits_of(masks)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(CorruptSegError) as caught:
        opened(value[:cut], describe(shape))
    assert caught.value.code == "frame-count-mismatch"
    whole = cut * 8 // (shape[1] * shape[2])
    if whole:
        frames, codes = opened(value[:cut], describe(shape), strict_length=False)
        assert codes == ["truncated-frames"]
        assert frames.count == whole
        np.testing.assert_array_equal(stack(frames), masks[:whole])


def test_cut_off_by_the_end_of_the_file():
    masks = random_masks((3, 8, 8))
    value = bits_of(masks)
    with pytest.raises(CorruptSegError, match="states 26 bytes, 24 are left") as caught:
        opened(value, describe(masks.shape), length=26)
    assert caught.value.code == "truncated"
    frames, codes = opened(value, describe(masks.shape), length=26, strict_length=False)
    assert codes == ["truncated-frames"]
    np.testing.assert_array_equal(stack(frames), masks)


def test_trailing_bytes():
    labels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    frames, codes = opened(labels.tobytes() + b"\7" * 9, describe(labels.shape, 8, "LABELMAP"))
    assert codes == ["trailing-bytes"]
    np.testing.assert_array_equal(frames.array, labels)


def test_no_frame_beyond_the_last():
    frames, _ = opened(b"\1", describe((1, 2, 2)))
    for n in (-1, 1):
        with pytest.raises(IndexError):
            frames.frame(n)


@pytest.mark.parametrize(
    "lie",
    [
        {"rows": 0},
        {"columns": 65536},
        {"samples_per_pixel": 3},
        {"bits_allocated": 32},
        {"frame_count": 0},
    ],
)
def test_impossible_descriptions(lie):
    with pytest.raises(CorruptSegError) as caught:
        opened(b"\1\0", describe((1, 2, 2), **lie))
    assert caught.value.code == "invalid-attribute"


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_claims_allocate_nothing(bits):
    """The largest frames and numbers a header can state, in two bytes."""
    with pytest.raises(CorruptSegError) as caught:
        opened(b"\1\0", describe((2**31 - 1, 65535, 65535), bits, segment_of_frame=np.zeros(3)))
    assert caught.value.code == "frame-count-mismatch"


def test_undefined_length_is_for_encapsulated_data():
    with pytest.raises(CorruptSegError) as caught:
        opened(b"\1\0\1\0\1\0", describe((1, 2, 2)), length=-1)
    assert caught.value.code == "malformed-structure"


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.103", "1.2.3", ""])
def test_unknown_syntax(uid):
    with pytest.raises(UnsupportedSegError) as caught:
        opened(b"\1\0", describe((1, 2, 2), transfer_syntax_uid=uid))
    assert caught.value.code == "unsupported-transfer-syntax"
