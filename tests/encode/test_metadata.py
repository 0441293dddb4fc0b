"""Descriptions: what is allowed is read, what is wrong is named with its line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segtools.encode.metadata.read import read_description
from segtools.encode.metadata.totalsegmentator import structures
from segtools.errors import MissingError, UsageError
from segtools.terminology.color import cielab_to_srgb, srgb_to_cielab
from segtools.terminology.laterality import laterality
from tests.factories.masks import code, dcmqi_segment, write_dcmqi


def test_all_keys_of_dcmqi(tmp_path: Path) -> None:
    path = write_dcmqi(
        tmp_path / "meta.json",
        [
            [
                {
                    "labelID": 3,
                    "SegmentLabel": "Left kidney",
                    "SegmentDescription": "drawn by hand",
                    "SegmentedPropertyCategoryCodeSequence": code("123037004", "Anatomical Structure"),
                    "SegmentedPropertyTypeCodeSequence": code("64033007", "Kidney"),
                    "SegmentedPropertyTypeModifierCodeSequence": code("7771000", "Left"),
                    "AnatomicRegionSequence": code("818983003", "Abdomen"),
                    "AnatomicRegionModifierSequence": code("24028007", "Right"),
                    "SegmentAlgorithmType": "AUTOMATIC",
                    "SegmentAlgorithmName": "Any Net",
                    "RecommendedDisplayCIELabValue": [1, 2, 3],
                    "TrackingIdentifier": "kidney 1",
                    "TrackingUniqueIdentifier": "2.25.7",
                }
            ],
            [dcmqi_segment(1)],
        ],
        ContentLabel="LABEL",
        ContentDescription="described",
        BodyPartExamined="ABDOMEN",
        segmentAttributesFileMapping=["/any/where/a.nrrd", "b.nrrd"],
    )
    description = read_description(path)
    segment = description.files[0][0, 3]
    assert (segment.number, segment.label, segment.description) == (3, "Left kidney", "drawn by hand")
    assert (segment.type.value, segment.type_modifiers[0].meaning, segment.cielab) == (
        "64033007",
        "Left",
        (1, 2, 3),
    )
    assert (segment.regions[0].meaning, segment.region_modifiers[0].meaning) == ("Abdomen", "Right")
    assert (segment.algorithm_type, segment.algorithm_name) == ("AUTOMATIC", "Any Net")
    assert (segment.tracking_id, segment.tracking_uid) == ("kidney 1", "2.25.7")
    assert description.files[1][0, 1].cielab == srgb_to_cielab((220, 129, 101))
    made = description.producer
    assert (made.content_label, made.content_description, made.body_part) == ("LABEL", "described", "ABDOMEN")
    assert (made.content_creator, made.trial_series_id, made.trial_time_point_id) == (
        "Doe^John",
        "Session1",
        "1",
    )
    assert (made.trial_center, made.instance_number, description.series_number) == ("BWH", 1, 300)
    assert description.file_names == ("a.nrrd", "b.nrrd")


def test_defaults_of_dcmqi(tmp_path: Path) -> None:
    bare = dcmqi_segment(1, SegmentLabel=None, recommendedDisplayRGBValue=None)
    path = tmp_path / "meta.json"
    path.write_text(json.dumps({"segmentAttributes": [[{k: v for k, v in bare.items() if v is not None}]]}))
    description = read_description(path)
    assert description.series_number == 300
    assert description.producer.series_description == "Segmentation"
    assert description.files[0][0, 1].label == "Liver 1"  # SegmentDescription stands in
    assert description.files[0][0, 1].cielab is None


WRONG = [
    ('{"segmentAttributes": [\n  [{"labelID": 1,}]]}', 2, "not valid JSON"),
    ('{"segmentAttributes": [[{"labelID": 1, "labelID": 2}]]}', 1, "twice"),
    ("{}", None, "must be a list"),
    ("[]", None, "must be an object"),
    ("{'a': 1}", 1, "not valid JSON"),
    ("[" * 100_000, None, "nested too deeply"),
    ('{"segmentAttributes": [[{"labelID": ' + "9" * 5000 + "}]]}", None, "too long"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG, ids=[says for _, _, says in WRONG])
def test_what_is_no_description(text: str, line: int | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        read_description(path)
    assert caught.value.code == "metadata-invalid"
    if line is not None:
        assert caught.value.attrs["line"] == line


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        ({"labelID": "one"}, "segmentAttributes[0][1].labelID", "whole number"),
        ({"labelID": 0}, "segmentAttributes[0][1].labelID", "1 to 65535"),
        ({"labelID": 1}, "segmentAttributes[0][1].labelID", "twice"),
        ({"SegmentLable": "x"}, "segmentAttributes[0][1].SegmentLable", "did you mean 'SegmentLabel'"),
        ({"SegmentLabel": 5}, "segmentAttributes[0][1].SegmentLabel", "must be text"),
        ({"SegmentAlgorithmType": "MAGIC"}, "segmentAttributes[0][1].SegmentAlgorithmType", "AUTOMATIC"),
        (
            {"recommendedDisplayRGBValue": [1, 2]},
            "segmentAttributes[0][1].recommendedDisplayRGBValue",
            "three",
        ),
        (
            {"recommendedDisplayRGBValue": [1, 2, 256]},
            "segmentAttributes[0][1].recommendedDisplayRGBValue",
            "255",
        ),
        (
            {"TrackingUniqueIdentifier": "1.02"},
            "segmentAttributes[0][1].TrackingUniqueIdentifier",
            "not a UID",
        ),
        (
            {"SegmentedPropertyTypeCodeSequence": [code("1", "x")]},
            "segmentAttributes[0][1].SegmentedPropertyTypeCodeSequence",
            "must be an object, not list",
        ),
        (
            {"SegmentedPropertyTypeCodeSequence": {"CodeValue": "1", "CodingSchemeDesignator": "SCT"}},
            "segmentAttributes[0][1].SegmentedPropertyTypeCodeSequence",
            "CodeMeaning are needed",
        ),
    ],
)
def test_what_dcmqi_would_refuse(change: dict, key: str, says: str, tmp_path: Path) -> None:
    path = write_dcmqi(tmp_path / "meta.json", [[dcmqi_segment(1), dcmqi_segment(2) | change]])
    with pytest.raises(UsageError, match=says) as caught:
        read_description(path)
    assert (caught.value.code, caught.value.attrs["key"]) == ("metadata-invalid", key)
    lines = path.read_text().splitlines()
    wanted = lines[caught.value.attrs["line"] - 1]
    assert key.rpartition(".")[2] in wanted


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "a_dseg.tsv"
    path.write_text(
        "index\tname\tcolor\tcategory_scheme\tcategory_code\tcategory_meaning\ttype_scheme\ttype_code\ttype_meaning\tlaterality\n"
        "0\tbackground\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\n"
        "1\tkidney_left\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\tn/a\n"
        "7\tmine\t#FF0000\tSCT\t123037004\tAnatomical Structure\tSCT\t64033007\tKidney\tright\n"
    )
    found = read_description(path).files[0]
    assert list(found) == [(0, 1), (0, 7)]
    assert laterality(found[0, 1]) == "left"
    assert (laterality(found[0, 7]), found[0, 7].cielab) == ("right", srgb_to_cielab((255, 0, 0)))
    for text, line, key, says in (
        ("index\tlabel\n1\tx\n", 1, "", "'index' and 'name'"),
        ("index\tname\n1\tlivr\n", 2, "name", "liver"),
        ("index\tname\none\tliver\n", 2, "index", "whole number"),
        ("index\tname\n1\tliver\n1\tspleen\n", 3, "index", "twice"),
        ("index\tname\tcolor\n1\tliver\tred\n", 2, "color", "#RRGGBB"),
        ("index\tname\n0\tbackground\n", None, "", "no label"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=says) as caught:
            read_description(path)
        assert (caught.value.attrs["line"], caught.value.attrs["key"]) == (line, key)


OWN = """\
series: {description: Lesions, number: 7, creator: Reader1}
subject: {PatientID: P-1}
segments:
  - {label: 1, name: spleen}
  - label: 2
    name: Kidney on the left
    type: SCT:64033007 Kidney
    side: left
    algorithm: {type: AUTOMATIC, name: Any Net}
    color: "#B03060"
    tracking: {id: kidney 1, uid: 2.25.7}
"""


def test_our_own_yaml(tmp_path: Path) -> None:
    path = tmp_path / "meta.yaml"
    path.write_text(OWN)
    description = read_description(path)
    first, second = description.files[0].values()
    assert (first.type.meaning, first.algorithm_type) == ("Spleen", "MANUAL")
    assert (laterality(second), second.algorithm_name, second.tracking_uid) == ("left", "Any Net", "2.25.7")
    assert (description.series_number, description.producer.content_creator) == (7, "Reader1")
    assert description.subject == {"PatientID": "P-1"}
    for old, new, line, key in (
        ("label: 2", "label: two", 5, "segments[1].label"),
        ("label: 2", "label: 1", 5, "segments[1].label"),
        ("SCT:64033007 Kidney", "Kidney", 7, "segments[1].type"),
        ("side: left", "side: links", 8, "segments[1].side"),
        ("type: AUTOMATIC", "type: MAGIC", 9, "segments[1].algorithm.type"),
        ("#B03060", "red", 10, "segments[1].color"),
        ("uid: 2.25.7", "uid: x", 11, "segments[1].tracking.uid"),
        ("side:", "syde:", 8, "segments[1].syde"),
        ("name: spleen", "name: splen", 4, "segments[0]"),
        ("number: 7", "number: x", 1, "series.number"),
        ("PatientID", "PatentID", 2, "subject.PatentID"),
        ("segments:", "segment:", 3, "segment"),
    ):
        path.write_text(OWN.replace(old, new))
        with pytest.raises(UsageError) as caught:
            read_description(path)
        assert (caught.value.code, caught.value.attrs["line"], caught.value.attrs["key"]) == (
            "metadata-invalid",
            line,
            key,
        )
    path.write_text("segments: [1, 2\n")
    with pytest.raises(UsageError, match="not valid YAML"):
        read_description(path)


def test_names_that_end_in_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "meta.txt").write_text("")
    with pytest.raises(UsageError, match="ends in none"):
        read_description(tmp_path / "meta.txt")
    with pytest.raises(MissingError):
        read_description(tmp_path / "meta.json")


def test_totalsegmentators_table_is_whole() -> None:
    table = structures()
    labels = sorted(row.label for row in table.values() if row.label)
    assert labels == list(range(1, 118))
    for name, row in table.items():
        sides = {modifier.meaning for modifier in (*row.type_modifiers, *row.region_modifiers)}
        for side in ("left", "right"):
            if name.endswith(f"_{side}"):
                assert (
                    side.title() in sides
                    or row.type.meaning.lower().startswith(side)
                    or side in row.type.meaning.lower()
                ), name


def test_colours_there_and_back() -> None:
    for color in ((0, 0, 0), (255, 255, 255), (220, 129, 101), (1, 254, 128)):
        assert max(abs(a - b) for a, b in zip(cielab_to_srgb(srgb_to_cielab(color)), color, strict=True)) <= 1
