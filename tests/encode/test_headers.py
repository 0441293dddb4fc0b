"""Every source header ends in a valid segmentation, or in a code and a sentence."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from segtools.decode import Concept, Grid, Segment, read
from segtools.encode import (
    Storage,
    Subject,
    encode,
    encode_object,
    image_series,
)
from segtools.encode.frames.codecs import RLE
from segtools.encode.header.files import read_source
from segtools.encode.quality.iod import missing_attributes
from segtools.errors import UsageError
from tests.factories.source_headers import (
    GRID,
    SHAPE,
    SIBLINGS,
    VARIANTS,
    Variant,
    images,
    save,
)

SEGMENT = Segment(
    1,
    "Liver",
    category=Concept("123037004", "SCT", "Anatomical Structure"),
    type=Concept("10200004", "SCT", "Liver"),
)
LABELS = (np.arange(np.prod(SHAPE)) % 7 == 0).astype(np.uint8).reshape(SHAPE)


def assert_valid(data: bytes) -> Dataset:
    """Every value is of its VR, every attribute of type 1 and 2 is there."""
    mode = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        for element in dataset.iterall():
            assert element.VR == "SQ" or element.value is not NotImplemented
    finally:
        pydicom.config.settings.reading_validation_mode = mode
    assert missing_attributes(dataset) == []
    tags = [element.tag for element in dataset]
    assert tags == sorted(tags)
    return dataset


@pytest.mark.parametrize("variant", [*VARIANTS, *SIBLINGS], ids=lambda variant: variant.name)
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_every_header_ends_well(variant: Variant, kind: str, tmp_path: Path) -> None:
    made = images()
    variant.change(made)
    folder = save(made, tmp_path / "images")
    storage = Storage(kind, RLE if kind == "LABELMAP" else Storage().transfer_syntax)
    if variant.code:
        with pytest.raises(UsageError) as caught:
            read_source(folder)
        assert (variant.name, caught.value.code) == (variant.name, variant.code)
        assert len(caught.value.message) > 20
        assert pickle.loads(pickle.dumps(caught.value)).code == variant.code
        return
    source = read_source(folder)
    written = encode_object(LABELS, GRID, [SEGMENT], source=source, storage=storage)
    assert set(variant.findings) <= {finding.code for finding in written.findings}
    data = written.to_bytes()
    dataset = assert_valid(data)
    volume = read(data)
    np.testing.assert_array_equal(volume.mask(1), LABELS == 1)
    np.testing.assert_allclose(volume.grid.affine_lps, GRID.affine_lps, atol=1e-6)
    assert dataset.StudyInstanceUID == made[0].StudyInstanceUID
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == made[0].SeriesInstanceUID
    if not any(code in ("source-slices-missing",) for code in variant.findings):
        assert len(volume.header.source_instance_uids) == 3


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_a_large_series_keeps_no_file_open(tmp_path: Path) -> None:
    made = image_series(
        Grid((60, 4, 5), np.diag([1.0, 1, 2, 1])), Subject("p"), pixels=np.ones((60, 4, 5), np.int16)
    )
    folder = save(made, tmp_path / "many")
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    source = read_source(folder)
    assert len(source.planes) == 60
    assert len(list(descriptors.iterdir())) - before < 5


def test_the_table_has_them_all() -> None:
    assert len(VARIANTS) == 47
    names = [variant.name for variant in (*VARIANTS, *SIBLINGS)]
    assert len(set(names)) == len(names)
    assert sum(variant.code == "" for variant in VARIANTS) >= 37


def test_text_beyond_ascii_is_declared(tmp_path: Path) -> None:
    made = images()
    made[0].PatientName = "山田^太郎"
    raw = encode(LABELS, GRID, [SEGMENT], source=made)
    assert raw.SpecificCharacterSet == "ISO_IR 192"
    assert raw.PatientName == "山田^太郎"
    plain = encode(LABELS, GRID, [SEGMENT], source=images())
    assert "SpecificCharacterSet" not in plain


def test_names_in_any_character_set_arrive(tmp_path: Path) -> None:
    for charset, name in (
        ("ISO_IR 100", "Äneas^Rüdiger"),
        ("ISO_IR 101", "Dvořák^Antonín"),
        ("ISO_IR 109", "Ĝis^Ĉu"),
        ("ISO_IR 110", "Bērziņš^Jānis"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 127", "قباني^لنزار"),
        ("ISO_IR 126", "Διονυσιος"),
        ("ISO_IR 138", "שרון^דבורה"),
        ("ISO_IR 148", "Çavuşoğlu"),
        ("ISO_IR 166", "สมชาย"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "王^小东"),
        ("GBK", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ):
        made, encodings = images(), convert_encodings(charset)
        for image in made:
            image.SpecificCharacterSet = charset
            image.PatientName = PersonName(PersonName(name).encode(encodings), encodings)
        source = read_source(save(made, tmp_path / str(charset)))
        data = encode_object(LABELS, GRID, [SEGMENT], source=source).to_bytes()
        assert str(assert_valid(data).PatientName) == name, charset
