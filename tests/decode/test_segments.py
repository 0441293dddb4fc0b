"""SegmentSequence in all its shapes: codes, missing parts, character sets, background."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from segtools.decode.dicom.charset import decode_text
from segtools.decode.dicom.file import open_structure
from segtools.decode.segments import read_segments
from segtools.terminology.concepts import Concept
from segtools.terminology.snomed import equivalent_codes

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "big endian": "1.2.840.10008.1.2.2",
}
LIVER = ("10200004", "SCT", "Liver")


def code(value=None, scheme=None, meaning=None, **more) -> Dataset:
    item = Dataset()
    pairs = {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning, **more}
    for keyword, text in pairs.items():
        if text is not None:
            setattr(item, keyword, text)
    return item


def segment(number=None, **attributes) -> Dataset:
    item = Dataset()
    if number is not None:
        item.SegmentNumber = number
    item.SegmentLabel = f"segment {number}"
    item.SegmentAlgorithmType = "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = Sequence([code("123037004", "SCT", "Anatomical Structure")])
    item.SegmentedPropertyTypeCodeSequence = Sequence([code(*LIVER)])
    for keyword, value in attributes.items():
        if value is None:
            delattr(item, keyword)
        else:
            setattr(item, keyword, Sequence(value) if keyword.endswith("Sequence") else value)
    return item


def read_back(*segments, syntax="explicit", undefined=False, **top):
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    dataset.SOPInstanceUID = "2.25.1"
    dataset.SegmentationType = "BINARY"
    for keyword, value in top.items():
        setattr(dataset, keyword, value)
    if segments:
        dataset.SegmentSequence = Sequence(segments)
    for item in segments:
        for element in item:
            if element.VR == "SQ":
                element.is_undefined_length = undefined
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    structure = open_structure(buffer.getvalue())
    found, findings = read_segments(structure)
    return found, [finding.code for finding in findings]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_everything_there_is(syntax, undefined):
    left, right = code("7771000", "SCT", "Left"), code("24028007", "SCT", "Right")
    region = code(
        "113257007", "SCT", "Cardiovascular system", AnatomicRegionModifierSequence=Sequence([right])
    )
    kind = code(*LIVER, SegmentedPropertyTypeModifierCodeSequence=Sequence([left, right]))
    item = segment(
        7,
        SegmentDescription="made by hand",
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="Net 2",
        RecommendedDisplayCIELabValue=[43803, 26565, 37722],
        TrackingID="lesion 1",
        TrackingUID="2.25.77",
        SegmentedPropertyTypeCodeSequence=[kind],
        AnatomicRegionSequence=[region],
        PrimaryAnatomicStructureSequence=[code("64033007", "SCT", "Kidney")],
    )
    (found,), codes = read_back(item, syntax=syntax, undefined=undefined)
    assert codes == []
    assert (found.number, found.label, found.description) == (7, "segment 7", "made by hand")
    assert found.category == Concept("123037004", "SCT", "Anatomical Structure")
    assert found.type == Concept(*LIVER)
    assert found.type_modifiers == (("7771000", "SCT", "Left"), ("24028007", "SCT", "Right"))
    assert [concept.value for concept in found.regions] == ["113257007", "64033007"]
    assert found.region_modifiers == (("24028007", "SCT", "Right"),)
    assert (found.algorithm_type, found.algorithm_name) == ("AUTOMATIC", "Net 2")
    assert found.cielab == (43803, 26565, 37722)
    assert (found.tracking_id, found.tracking_uid) == ("lesion 1", "2.25.77")


def test_order_and_repeats():
    found, codes = read_back(segment(378), segment(2), segment(4002), segment(2, SegmentLabel="again"))
    assert [s.number for s in found] == [2, 378, 4002]
    assert found[0].label == "segment 2"
    assert codes == ["duplicate-segment-number"]


def test_items_without_a_number_take_their_place():
    found, codes = read_back(segment(), segment(1), segment())
    assert [(s.number, s.label) for s in found] == [(1, "segment 1"), (3, "segment None")]
    assert codes == ["segment-number-assumed", "segment-number-assumed"]


def test_no_segments():
    assert read_back() == ((), [])
    assert read_back(SegmentSequence=Sequence([])) == ((), [])


@pytest.mark.parametrize(
    ("item", "expected", "codes"),
    [
        (
            code(None, "X", "long", LongCodeValue="12345678901234567890"),
            ("12345678901234567890", "X", "long"),
            [],
        ),
        (code(None, None, "urn", URNCodeValue="urn:lex:us:1"), ("urn:lex:us:1", "", "urn"), []),
        (code("1", "SCT"), ("1", "SCT", ""), ["incomplete-code"]),
        (code("1", None, "one"), ("1", "", "one"), ["incomplete-code"]),
        (code(None, "SCT", "one"), ("", "SCT", "one"), ["incomplete-code"]),
        (code(), None, ["incomplete-code"] * 2),
        (None, None, ["incomplete-code"]),
    ],
)
def test_codes(item, expected, codes):
    items = [] if item is None else [item]
    (found,), seen = read_back(segment(1, SegmentedPropertyTypeCodeSequence=items))
    assert found.type == expected
    assert seen == codes


def test_long_meaning_is_kept():
    with pytest.warns(UserWarning, match="maximum length"):
        item = code("1", "99X", "m" * 100)
    (found,), codes = read_back(segment(1, SegmentedPropertyTypeCodeSequence=[item]))
    assert (found.type.meaning, codes) == ("m" * 100, [])


def test_missing_sequences():
    item = segment(1, SegmentedPropertyTypeCodeSequence=None, SegmentedPropertyCategoryCodeSequence=None)
    (found,), codes = read_back(item)
    assert (found.type, found.category) == (None, None)
    assert codes == ["incomplete-code", "incomplete-code"]


@pytest.mark.parametrize(
    ("attributes", "kind", "name", "codes"),
    [
        ({"SegmentAlgorithmType": None}, None, None, ["missing-algorithm"]),
        ({"SegmentAlgorithmType": "ROBOT"}, None, None, ["missing-algorithm"]),
        ({"SegmentAlgorithmType": "AUTOMATIC"}, "AUTOMATIC", None, ["missing-algorithm"]),
        ({"SegmentAlgorithmType": "MANUAL"}, "MANUAL", None, []),
    ],
)
def test_algorithm(attributes, kind, name, codes):
    (found,), seen = read_back(segment(1, **attributes))
    assert (found.algorithm_type, found.algorithm_name) == (kind, name)
    assert seen == codes


def test_algorithm_name_from_its_identification():
    identification = Dataset()
    identification.AlgorithmName = "Net 3"
    (found,), codes = read_back(
        segment(
            1, SegmentAlgorithmType="AUTOMATIC", SegmentationAlgorithmIdentificationSequence=[identification]
        )
    )
    assert (found.algorithm_name, codes) == ("Net 3", [])


@pytest.mark.parametrize("scheme", ["SRT", "SNM3", "99SDM"])
def test_retired_codes_are_kept_and_have_a_twin(scheme):
    items = [
        segment(n, SegmentedPropertyTypeCodeSequence=[code("T-62000", scheme, "Liver")]) for n in (1, 2, 4)
    ]
    found, codes = read_back(*items)
    assert codes == ["retired-code"]
    assert {s.type for s in found} == {("T-62000", scheme, "Liver")}
    assert equivalent_codes(found[0].type.scheme, found[0].type.value)[0] == "SCT:10200004"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("ISO_IR 192", "肝臓 – Leber – печень"),
        ("ISO_IR 100", "Längsschnitt"),
        ("ISO_IR 144", "печень"),
        ("GB18030", "肝脏"),
        ("GBK", "肝脏"),
        (["", "ISO 2022 IR 87"], "肝臓"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], "간"),
        ("ISO_IR 13", "ｶﾝｿﾞｳ"),
    ],
)
@pytest.mark.parametrize("syntax", ["explicit", "big endian"])
def test_character_sets(charset, text, syntax):
    (found,), codes = read_back(segment(1, SegmentLabel=text), syntax=syntax, SpecificCharacterSet=charset)
    assert (found.label, codes) == (text, [])


def test_character_set_of_an_item():
    item = segment(1)
    item.SpecificCharacterSet = "ISO_IR 192"
    item.SegmentLabel = "肝"
    found, codes = read_back(item, segment(2), SpecificCharacterSet="ISO_IR 100")
    assert (found[0].label, codes) == ("肝", [])


@pytest.mark.parametrize(("codec", "charset"), [("utf-8", "ISO_IR 6"), ("latin-1", "ISO_IR 192")])
def test_undeclared_bytes(codec, charset):
    item = segment(1)
    item.add_new(0x00620005, "UN", "Längs".encode(codec))
    item[0x00620005].VR = "UN"
    (found,), codes = read_back(item, SpecificCharacterSet=charset, syntax="implicit")
    assert found.label == "Längs"
    assert codes == ["undeclared-character-set"]


def test_unknown_character_set():
    assert decode_text("Längs".encode(), "XX") == ("Längs", False)


@pytest.mark.parametrize(
    ("padding", "typed", "expected"),
    [(None, False, [0, 1, 5]), (0, False, [1, 5]), (None, True, [1, 5]), (5, False, [0, 1]), (5, True, [1])],
)
def test_background_is_no_segment(padding, typed, expected):
    kind = [code("125040", "DCM", "Background")] if typed else [code(*LIVER)]
    top = {"SegmentationType": "LABELMAP", "PixelRepresentation": 0}
    if padding is not None:
        top["PixelPaddingValue"] = padding
    items = [segment(0, SegmentedPropertyTypeCodeSequence=kind), segment(1), segment(5)]
    found, codes = read_back(*items, **top)
    assert ([s.number for s in found], codes) == (expected, [])
    if padding is not None:
        found, _ = read_back(*items[1:], **{**top, "SegmentationType": "BINARY"})
        assert [s.number for s in found] == [1, 5]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 3])
def test_palette(bits, first):
    import numpy as np

    colours = np.array([[10 * n, 20 * n, 250 - n] for n in range(first, 9)])
    top = {}
    for name, column in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        data = column.astype("<u1").tobytes() if bits == 8 else (column.astype("<u2") * 257).tobytes()
        top[f"{name}PaletteColorLookupTableDescriptor"] = [len(colours), first, bits]
        top[f"{name}PaletteColorLookupTableData"] = data + b"\0" * (len(data) % 2)
    found, _ = read_back(segment(3), segment(8), **top)
    assert [s.rgb for s in found] == [(30, 60, 247), (80, 160, 242)]


def test_no_pydicom_for_plain_text():
    program = (
        "import sys, segtools.decode.segments; from segtools.decode.dicom.charset import decode_text as d"
    )
    program += "; d(bytes([232]), 'ISO_IR 100'); sys.exit('pydicom' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
