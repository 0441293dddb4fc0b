"""`read`, `read_parts`, `read_header`: sources, subsets, options, and what importing them costs."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from segtools.decode import DecodeOptions, read, read_header, read_parts
from segtools.errors import (
    CorruptSegError,
    MissingError,
    NotSegError,
    SegError,
    UnsupportedSegError,
)
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.cases_geometry import concatenation
from tests.factories.cases_pixels import _liver_as_zero
from tests.factories.seg import SegFactory

OF = masks()
SEG = SegFactory.of_masks(OF)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "seg.dcm"
    file.write_bytes(SEG.build())
    return file


def test_sources(path):
    data = path.read_bytes()
    for source in (path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data)):
        volume = read(source)
        assert np.array_equal(volume.mask(1), OF[1])
        if isinstance(source, io.BytesIO):
            source.seek(0)
        assert read_header(source).header == volume.header


def test_result_outlives_the_file(path):
    volume = read(path)
    path.unlink()
    assert np.array_equal(volume.mask(2), OF[2])
    assert all(layer.flags.owndata or layer.base is not None for layer in volume.layers)
    assert all(layer.flags.writeable for layer in volume.layers)


def test_files_that_are_not_there_or_empty(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.dcm")
    with pytest.raises(OSError, match="directory"):
        read(tmp_path)
    empty = tmp_path / "empty.dcm"
    empty.touch()
    with pytest.raises(NotSegError) as refused:
        read(empty)
    assert refused.value.code == "empty-file"
    assert refused.value.attrs["path"] == str(empty)


def test_header():
    volume = read(SEG.build())
    header = volume.header
    assert header.sop_class_uid == S.SEGMENTATION
    assert header.sop_instance_uid == f"{S.UID}.1.1"
    assert (header.study_instance_uid, header.series_instance_uid) == (f"{S.UID}.2", f"{S.UID}.3")
    assert (header.patient_id, header.segmentation_type, header.frame_count) == ("P-1", "BINARY", 8)
    assert header.file_bytes == len(SEG.build())
    assert header.source_series_uids == (f"{S.UID}.5",)
    assert header.source_instance_uids == tuple(f"{S.UID}.7.{k}" for k in range(1, 5))


def test_header_needs_nothing_behind_the_segments():
    data = SEG.build()
    cut = data[: data.index(b"\x00\x52\x29\x92SQ") + 12]
    file = read_header(cut)
    assert [segment.number for segment in file.segments] == [1, 2]
    assert (file.rows, file.columns, file.header.frame_count) == (7, 9, 8)
    with pytest.raises(CorruptSegError):
        read(cut)


@pytest.mark.parametrize("syntax", [S.EXPLICIT, S.IMPLICIT, S.BIG_ENDIAN, S.DEFLATED])
def test_header_in_every_encoding(syntax):
    assert read_header(SEG.but(syntax=syntax, undefined_length=True).build()).rows == 7


def test_header_refuses_what_read_refuses():
    def other_class(ds: Dataset) -> None:
        ds.SOPClassUID = S.CT_IMAGE

    with pytest.raises(NotSegError):
        read_header(SEG.but(edit=other_class).build())


@pytest.mark.parametrize("wanted", [[1], [2], [1, 2], [2, 1, 1], []])
def test_a_subset_has_the_grid_of_all(wanted):
    whole, part = read(SEG.build()), read(SEG.build(), segments=wanted)
    assert part.grid.shape == whole.grid.shape
    assert np.array_equal(part.grid.affine_lps, whole.grid.affine_lps)
    assert [segment.number for segment in part.segments] == sorted(set(wanted))
    for number in wanted:
        assert np.array_equal(part.mask(number), OF[number])
    assert {int(value) for value in np.unique(part.layers[0])} <= {0, *wanted}


def test_a_subset_touches_no_other_frame():
    wide = masks((3, 34, 37))
    seg = SegFactory.of_masks(wide, syntax=S.RLE)
    data = bytearray(seg.build())
    start = data.rindex(b"\xfe\xff\x00\xe0")
    data[start + 8 : start + 12] = b"\xff\xff\xff\xff"  # the last frame, of segment 2, is broken
    with pytest.raises(CorruptSegError) as refused:
        read(bytes(data))
    assert refused.value.code == "codec-failed"
    assert np.array_equal(read(bytes(data), segments=[1]).mask(1), wide[1])


def test_a_segment_that_is_not_there():
    with pytest.raises(MissingError) as refused:
        read(SEG.build(), segments=[1, 9])
    assert refused.value.code == "not-found"
    assert refused.value.attrs["segments"] == [9]


def test_subset_of_layers_is_packed_anew():
    overlapping = {1: OF[1], 2: OF[1] | OF[2]}
    data = SegFactory.of_masks(overlapping).build()
    assert len(read(data).layers) == 2
    only = read(data, segments=[2])
    assert len(only.layers) == 1
    assert "segments-overlap" not in {finding.code for finding in only.findings}


def test_label_map_subset_of_everything_else():
    labels = labelled(numbers=(1, 300))
    volume = read(SegFactory.of_labels(labels).build(), segments=[1])
    assert volume.layers[0].dtype == np.uint8 or volume.layers[0].max() == 1
    assert np.array_equal(volume.mask(1), labels == 1)


def test_memory_limit():
    with pytest.raises(UnsupportedSegError) as refused:
        read(SEG.build(), options=DecodeOptions(max_bytes=100))
    assert refused.value.code == "memory-limit"


def test_slices_far_apart_take_no_memory():
    x, y, _ = SEG.origin
    far = tuple(replace(frame, position=(x, y, 2.5 * frame.k + 9e6 * (frame.k > 1))) for frame in SEG.frames)
    with pytest.raises(UnsupportedSegError) as refused:
        read(SEG.but(frames=far).build(), options=DecodeOptions(max_bytes=1 << 28))
    assert refused.value.code == "memory-limit"
    beyond = tuple(replace(frame, position=(x, y, 1e9 * (frame.k > 1))) for frame in SEG.frames)
    with pytest.raises(CorruptSegError) as refused:
        read(SEG.but(frames=beyond).build())
    assert refused.value.code == "invalid-attribute"


def _named(text: str, private: bool = False):
    def edit(ds: Dataset) -> None:
        ds.SeriesDescription = text
        if private:
            block = ds.private_block(0x0117, "UCSF BIRP PRIVATE CREATOR 011710XX", create=True)
            block.add_new(0xD3, "LO", "bit legend")

    return edit


@pytest.mark.parametrize("values", [(12, 33, 48), (1, 2, 3), (12,)])
@pytest.mark.parametrize(
    "edit", [_named("VOI PE Segmentation Analysis Mask"), _named("VOI", private=True)], ids=["name", "legend"]
)
def test_bit_fields_are_no_fractions(values, edit):
    stored = np.zeros((4, 7, 9), np.uint8)
    stored.reshape(4, -1)[:, : len(values)] = values
    with pytest.raises(UnsupportedSegError) as refused:
        read(SegFactory.of_masks({1: stored}, kind="FRACTIONAL", edit=edit).build())
    assert refused.value.code == "bit-field-mask"


def test_a_mask_named_like_bit_fields_is_a_mask():
    stored = OF[1].astype(np.uint8) * 255
    volume = read(SegFactory.of_masks({1: stored}, kind="FRACTIONAL", edit=_named("Analysis Mask")).build())
    assert np.array_equal(volume.mask(1), OF[1])


def test_padding_value_beside_a_real_segment_0():
    labels = np.full((2, 3, 4), 255, np.uint8)
    labels[:, 0], labels[:, 1] = 0, 7
    seg = SegFactory.of_labels(labels, described=(0, 7), padding_value=255, edit=_liver_as_zero)
    volume = read(seg.build())
    assert np.array_equal(volume.mask(7), labels == 7)
    assert np.array_equal(volume.mask(0), labels == 0)
    assert "zero-is-segment" in {finding.code for finding in volume.findings}
    assert [segment.number for segment in volume.segments] == [0, 7]


def test_concatenated_time_points_are_not_united():
    parts = []
    for number, part in enumerate(concatenation({1: OF[1]}), 1):

        def edit(groups: Dataset, number: int = number) -> None:
            groups.FrameContentSequence[0].TemporalPositionIndex = number

        frames = tuple(replace(frame, k=index, edit=edit) for index, frame in enumerate(part.frames))
        parts.append(part.but(frames=frames).build())
    with pytest.raises(UnsupportedSegError) as refused:
        read(parts)
    assert refused.value.code == "temporal-frames"
    first, second = read_parts(parts)
    assert np.array_equal(first.mask(1), OF[1][:2])
    assert np.array_equal(second.mask(1), OF[1][2:])


def test_findings_are_said_once():
    findings = read(SEG.but(described=(1,)).build()).findings
    assert len(findings) == len(set(findings))


def test_errors_survive_on_their_own():
    with pytest.raises(SegError) as refused:
        read(b"no DICOM at all")
    assert refused.value.code == "not-dicom"
    assert "path" not in refused.value.attrs


def test_importing_costs_numpy_only():
    heavy = {"pydicom", "highdicom", "cc3d", "prefect", "pandas", "nibabel"}
    code = f"import sys, segtools.decode; print(sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_ascii_text_needs_no_pydicom(path):
    code = "import sys; from segtools.decode import read; read(sys.argv[1]); print('pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
