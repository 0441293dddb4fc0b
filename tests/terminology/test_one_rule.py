"""A structure has one name and one side: in the catalog, in SQL, in a cohort file, in `idcseg structures`."""

from __future__ import annotations

import importlib.util
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from segtools import schema
from segtools.decode.volume import Segment
from segtools.errors import SegtoolsError
from segtools.index.header import read_header
from segtools.select import Library, LocalEngine, Sources, structures
from segtools.select.concept_keys import Concepts
from segtools.terminology.concepts import Concept
from segtools.terminology.laterality import laterality
from segtools.terminology.structures import structure

SIDES = {
    "": (),
    "left": (Concept("7771000", "SCT", "Left"),),
    "old left": (Concept("G-A101", "SRT", "Left"),),
    "old right": (Concept("G-A100", "99SDM", "Right"),),
    "left and right": (Concept("7771000", "SCT", "Left"), Concept("24028007", "SCT", "Right")),
    "both": (Concept("51440002", "SCT", "Right and left"),),
    "no side": (Concept("261183002", "SCT", "Upper"),),
    "side in the third": (
        Concept("1", "99X", "cortex"),
        Concept("2", "99X", "upper"),
        Concept("24028007", "SCT", "Right"),
    ),
    "another scheme": (Concept("7771000", "99X", "Left"), Concept("7771000", "SRT", "Left")),
}
TYPES = (
    None,
    Concept("64033007", "SCT", "Kidney"),
    Concept("T-71000", "SRT", "Kidney"),
    Concept("T-71000", "SNM3", "Ren"),
    Concept("27925004", "SCT", "Nodule"),
    Concept("113343008", "SCT", "Organ"),
    Concept("9040008", "SCT", "Côlon ascendant"),
    Concept("10200004", "SCT", "Ήπαρ"),
    Concept("1", "99X", "α-Synuclein"),
    Concept("2", "99X", ""),
    Concept("3", "", "Schemeless"),
    Concept("4", "99X", "Left atrium"),
    Concept("5", "99X", "lung|nodule:1"),
)
CATEGORIES = (
    None,
    Concept("123037004", "SCT", "Anatomical Structure"),
    Concept("T-D0050", "SRT", "Tissue"),
    Concept("49755003", "SCT", "Morphologically Altered Structure"),
)
LUNG = Concept("39607008", "SCT", "Lung")
REGIONS = (None, LUNG, Concept("T-28000", "SRT", "Lung"))


def _code(concept: Concept | None) -> dict[str, str | None] | None:
    if concept is None:
        return None
    value, scheme, meaning = (part or None for part in concept)
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def _row(number: int, segment: Segment) -> dict[str, Any]:
    kind = _code(segment.type)
    if kind is not None:
        kind |= {
            "AnatomicRegionModifierSequence": [_code(item) for item in segment.region_modifiers[1:]],
            "SegmentedPropertyTypeModifierCodeSequence": [_code(item) for item in segment.type_modifiers],
        }
    return {
        "SeriesInstanceUID": f"1.{number}",
        "SOPInstanceUID": f"1.{number}.1",
        "SegmentNumber": 1,
        "SegmentedPropertyCategory": _code(segment.category),
        "SegmentedPropertyType": kind,
        "AnatomicRegion": _code(next(iter(segment.regions), None)),
        "AnatomicRegionModifier": _code(next(iter(segment.region_modifiers), None)),
    }


def made() -> list[tuple[Segment, dict[str, Any]]]:
    """Every type in every category and region; every side as the type's and the region's."""
    segments = [
        Segment(1, category=category, type=kind, regions=(region,) if region else ())
        for kind, category, region in product(TYPES, CATEGORIES, REGIONS)
    ]
    segments += [
        Segment(1, category=CATEGORIES[3], type=TYPES[4], type_modifiers=of_type, regions=(REGIONS[1],),
                region_modifiers=of_region)
        for of_type, of_region in product(SIDES.values(), SIDES.values())
    ]  # fmt: skip
    segments += [
        Segment(1, category=category, type=kind, type_modifiers=SIDES["old left"])
        for kind, category in product(TYPES[1:], CATEGORIES)
    ]
    return [(segment, _row(number, segment)) for number, segment in enumerate(segments)]


def known_to_pydicom() -> list[tuple[Segment, dict[str, Any]]]:
    """Every concept of PS3.16 that pydicom knows, as the type of a segment."""
    from pydicom.sr._concepts_dict import concepts

    kinds = [
        Concept(value, scheme, meaning)
        for scheme, names in concepts.items()
        for values in names.values()
        for value, (meaning, _) in values.items()
    ]
    assert len(kinds) > 5_000
    segments = [Segment(1, category=CATEGORIES[1], type=kind) for kind in kinds]
    return [(segment, _row(number, segment)) for number, segment in enumerate(segments)]


def real(folder: Path) -> list[tuple[Segment, dict[str, Any]]]:
    """The segments of real SEG files, as `idcseg index` writes them."""
    from segtools.decode.dicom.file import open_structure
    from segtools.decode.segments import read_segments

    found = []
    for number, path in enumerate(sorted(folder.glob("*.dcm"))):
        try:
            rows = read_header(path.read_bytes()).segments
            segments, _ = read_segments(open_structure(path.read_bytes()))
        except SegtoolsError:
            continue
        found += [
            (segment, row | {"SeriesInstanceUID": f"1.{number}", "SOPInstanceUID": f"1.{number}.1"})
            for segment, row in zip(segments, rows, strict=True)
        ]
    return found


def cases(name: str, request: pytest.FixtureRequest) -> list[tuple[Segment, dict[str, Any]]]:
    if name == "real":
        return real(request.getfixturevalue("real_data"))
    return made() if name == "made" else known_to_pydicom()


@pytest.mark.parametrize("name", ["made", "pydicom", "real"])
def test_catalog_sql_and_cohort_file_agree(name: str, request: pytest.FixtureRequest) -> None:
    rows = cases(name, request)
    assert rows
    table = pa.Table.from_pylist([row for _, row in rows], schema=schema.IDC_SEGMENTATIONS.arrow)
    engine = LocalEngine(threads=1, tables={"segmentations": table})
    with engine.open(Sources(idc=False), 25) as session:
        answer = session.run("segment_meanings", {}, Library()).table.to_pylist()
        concepts = Concepts.read(session, Library())
    asked = {(row["seg_series_uid"], row["segment_number"]): row for row in answer}
    by_name: dict[str, set[str]] = {}
    for segment, row in rows:
        sql = asked[(row["SeriesInstanceUID"], row["SegmentNumber"])]
        assert sql["laterality"] == laterality(segment), segment
        assert sql["concept_key"] in concepts.keys("structures", structure(segment)).concepts, segment
        by_name.setdefault(structure(segment), set()).add(sql["concept_key"])
    listed = {row["structure"] for row in structures(Sources(idc=False), engine, None, 25).to_pylist()}
    assert listed == set(by_name)


def test_broader_names_and_other_orders_of_words_find_the_same() -> None:
    nodule = Segment(
        1, category=CATEGORIES[3], type=TYPES[4], regions=(LUNG,), region_modifiers=SIDES["left"]
    )
    kidneys = [
        Segment(1, type=kind, type_modifiers=SIDES[side]) for kind in TYPES[1:4] for side in ("left", "")
    ]
    table = pa.Table.from_pylist(
        [_row(number, segment) for number, segment in enumerate([nodule, *kidneys])],
        schema=schema.IDC_SEGMENTATIONS.arrow,
    )
    engine = LocalEngine(threads=1, tables={"segmentations": table})
    with engine.open(Sources(idc=False), 25) as session:
        concepts = Concepts.read(session, Library())

    def found(name: str) -> set[str]:
        return set(concepts.keys("structures", name).concepts)

    assert (
        found("nodule")
        == found("nodule_lung")
        == found("nodule_left")
        == found("Nodule, lung, left")
        == {"SCT:27925004|SCT:49755003|SCT:39607008|left"}
    )
    left = {"SCT:64033007|||left", "SRT:T-71000|||left", "SNM3:T-71000|||left"}
    assert found("kidney_left") == found("left kidney") == found("ren_left") == left
    assert found("kidney") == found("Ren") == left | {key.removesuffix("left") for key in left}
    assert found("kidney*") == found("k?dney*") == found("kidney")


@pytest.mark.skipif(importlib.util.find_spec("idc_index_data") is None, reason="no idc-index-data")
def test_every_licence_of_idc_is_judged() -> None:
    import pyarrow.parquet as pq

    from segtools.terminology.licenses import allows_commercial_use

    names = pq.read_table(Sources().idc_folder() / "idc_index.parquet", columns=["license_short_name"])
    found = set(names["license_short_name"].unique().to_pylist())
    assert len(found) > 3
    undecided = {name for name in found if name and allows_commercial_use(name) is None}
    assert all("CC" not in name.split() for name in undecided), undecided
