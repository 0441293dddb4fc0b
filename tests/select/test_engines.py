"""Both engines and a second opinion in Python agree on any cohort."""

from __future__ import annotations

import hashlib
import math
from fnmatch import fnmatch
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segtools.errors import SelectError
from segtools.select import BigQueryEngine, LocalEngine, Sources, select
from segtools.select.cohort_spec import CohortSpec
from tests.select.world import (
    LABELMAP,
    SEG,
    dicom_all,
    labelmap_segments,
    segmentations,
)

LEFT, RIGHT, BOTH = {"7771000", "G-A101"}, {"24028007", "G-A100"}, {"51440002", "G-A102"}
TWINS = {"T-62000": "10200004", "T-D0050": "85756007", "T-71000": "64033007"}


def _side(row: dict[str, Any]) -> str | None:
    kind = row["SegmentedPropertyType"] or {}
    modifiers = [
        *(kind.get("SegmentedPropertyTypeModifierCodeSequence") or [])[:2],
        *(kind.get("AnatomicRegionModifierSequence") or [])[:1],
        row["AnatomicRegionModifier"],
    ]
    for modifier in modifiers:
        for name, values in (("left", LEFT), ("right", RIGHT), ("bilateral", BOTH)):
            if modifier and modifier["CodeValue"] in values:
                return name
    return None


def _key(code: dict[str, str] | None) -> str | None:
    if not code:
        return None
    value = code["CodeValue"]
    return f"SCT:{TWINS[value]}" if value in TWINS else f"{code['CodingSchemeDesignator']}:{value}"


def _segments() -> list[dict[str, Any]]:
    rows = []
    for row in segmentations().to_pylist():
        rows.append({
            "series": row["SeriesInstanceUID"], "image": row["segmented_SeriesInstanceUID"], "structures": _key(row["SegmentedPropertyType"]),
            "categories": _key(row["SegmentedPropertyCategory"]), "regions": _key(row["AnatomicRegion"]),
            "laterality": _side(row), "algorithm_types": row["SegmentAlgorithmType"],
            "algorithm_names": row["SegmentAlgorithmName"], "segmentation_types": row["SegmentationType"],
        })  # fmt: skip
    assert len(labelmap_segments()) == 1
    rows.append({
        "series": "1.5", "image": "9.5", "structures": "SCT:64033007", "categories": "SCT:123037004", "regions": None,
        "laterality": "right", "algorithm_types": "AUTOMATIC", "algorithm_names": "RCC-AI",
        "segmentation_types": "LABELMAP",
    })  # fmt: skip
    return rows


def second_opinion(spec: CohortSpec) -> list[str]:
    """The series of `spec`, by plain Python."""
    series: dict[str, dict[str, Any]] = {}
    everything = dicom_all().to_pylist()
    for row in everything:
        if row["Modality"] == "SEG" and row["SOPClassUID"] in (SEG, LABELMAP):
            series[row["SeriesInstanceUID"]] = row
    names = {
        "collections": "collection_id", "analysis_results": "analysis_result_id",
        "licenses": "license_short_name", "patients": "PatientID", "series_uids": "SeriesInstanceUID",
        "dois": "source_DOI", "studies": "StudyInstanceUID", "crdc_series_uuids": "crdc_series_uuid",
    }  # fmt: skip
    found = []
    for uid, row in series.items():
        if any((w := getattr(spec, k)) and row[c] not in w for k, c in names.items()):
            continue
        if any(row[c] in getattr(spec.exclude, k) for k, c in names.items()):
            continue
        filtered = spec.segment_filters or spec.segmentation_types or spec.image_filters
        if filtered and not any(_passes(spec, item) for item in _segments() if item["series"] == uid):
            continue
        modalities = {
            other["Modality"] for other in everything if other["StudyInstanceUID"] == row["StudyInstanceUID"]
        }
        if not modalities.issuperset(spec.studies_with):
            continue
        person = (row["collection_id"], row["PatientID"])
        studies = {
            other["StudyInstanceUID"]
            for other in series.values()
            if (other["collection_id"], other["PatientID"]) == person
        }
        if len(studies) < spec.min_studies:
            continue
        found.append(uid)
    if spec.sample is not None:
        found = _sampled(spec, found, series)
    return sorted(found)


def _passes(spec: CohortSpec, item: dict[str, Any]) -> bool:
    for name in ("laterality", "algorithm_types", "algorithm_names", "segmentation_types"):
        if getattr(spec, name) and item[name] not in getattr(spec, name):
            return False
    for name in ("structures", "categories", "regions"):
        wanted = getattr(spec, name)
        if wanted and not any(
            item[name] == _key({"CodingSchemeDesignator": code.scheme, "CodeValue": code.value})
            and code.laterality in (None, item["laterality"])
            for code in wanted
        ):
            return False
    return _shows(spec.images, IMAGES.get(item["image"], {}))


IMAGES: dict[str | None, dict[str, Any]] = {
    "9.1": {"modality": "CT", "slice_thickness_mm": 2.5, "kvp": 120, "kernel": ["b30f"], "pixel_spacing_mm": 0.8,
            "contrast": False, "manufacturer": "siemens", "series_description": None, "b_value": []},
    "9.5": {"modality": "MR", "slice_thickness_mm": 5, "field_strength_t": 3, "b_value": [0, 800], "kernel": [],
            "contrast": True, "series_description": "t2 ax"},
}  # fmt: skip


def _shows(wanted: Any, image: dict[str, Any]) -> bool:
    """Whether an image passes the filters, looked at one by one."""
    for name in wanted.model_fields_set:
        asked, there = getattr(wanted, name), image.get(name)
        values = there if isinstance(there, list) else [] if there is None else [there]
        if isinstance(asked, bool) or isinstance(there, bool):
            passes = there is asked
        elif isinstance(asked, tuple):
            passes = any(fnmatch(str(v).lower(), str(pattern).lower()) for v in values for pattern in asked)
        else:
            low = -math.inf if asked.min is None else asked.min
            high = math.inf if asked.max is None else asked.max
            passes = any(low <= value <= high for value in values)
        if not passes:
            return False
    return True


def _sampled(spec: CohortSpec, found: list[str], series: dict[str, dict[str, Any]]) -> list[str]:
    def digest(text: str) -> str:
        return hashlib.md5(f"{spec.sample.seed}/{text}".encode()).hexdigest()

    if spec.sample.series is not None:
        return sorted(found, key=digest)[: spec.sample.series]
    owner = {uid: f"{series[uid]['collection_id']}/{series[uid]['PatientID']}" for uid in found}
    taken = sorted(set(owner.values()), key=digest)[: spec.sample.patients]
    return [uid for uid in found if owner[uid] in taken]


def some(*values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True)


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "collections": some("nlst", "lidc", "kirc", "til"),
        "analysis_results": some("totalseg", "bamf"),
        "licenses": some("CC BY 4.0", "CC BY 3.0", "CC BY-NC 3.0"),
        "patients": some("P1", "P2", "P3", "P7"),
        "studies": some("2.1", "2.2", "2.7"),
        "dois": some("10.1/a", "10.1/ts"),
        "crdc_series_uuids": some("uuid-1.1", "uuid-1.4", "uuid-1.7"),
        "series_uids": some("1.1", "1.2", "1.5", "1.6", "1.7"),
        "structures": some("SCT:10200004", "SRT:T-62000", "SCT:64033007/left", "SCT:64033007", "SCT:27925004/right"),
        "categories": some("SCT:123037004", "SCT:49755003"),
        "regions": some("SCT:39607008", "SCT:39607008/bilateral"),
        "laterality": some("left", "right", "bilateral"),
        "algorithm_types": some("AUTOMATIC", "MANUAL"),
        "algorithm_names": some("TotalSegmentator", "reader's", "RCC-AI"),
        "segmentation_types": some("BINARY", "FRACTIONAL", "LABELMAP"),
        "studies_with": some("CT", "MR"),
        "min_studies": st.integers(1, 2),
        "images": st.fixed_dictionaries(
            {}, optional={
                "modality": some("CT", "MR"), "manufacturer": some("siem*", "GE"), "kernel": some("b3?f", "B40"),
                "series_description": some("t2*", "*AX"), "contrast": st.booleans(),
                "slice_thickness_mm": st.sampled_from([{"max": 2.5}, {"min": 3}, {"min": 2.5, "max": 5}]),
                "pixel_spacing_mm": st.sampled_from([{"max": 0.75}, {"min": 0.8}]),
                "b_value": st.sampled_from([{"min": 700}, {"max": 0}, {"min": 1000}]),
                "field_strength_t": st.sampled_from([{"min": 3, "max": 3}]),
            }
        ),
        "exclude": st.fixed_dictionaries(
            {}, optional={"collections": some("nlst", "til"), "analysis_results": some("totalseg"),
                          "patients": some("P1")}
        ),
        "sample": st.one_of(
            st.fixed_dictionaries({"series": st.integers(1, 4), "seed": st.integers(0, 50)}),
            st.fixed_dictionaries({"patients": st.integers(1, 3), "seed": st.integers(0, 50)}),
        ),
    },
)  # fmt: skip


def answer(spec: CohortSpec, sources: Sources, engine: Any) -> tuple[Any, ...]:
    try:
        selection = select(spec, sources, engine)
    except SelectError as error:
        return (error.code,)
    return (selection.series, selection.objects, selection.segments, selection.segment_count)


def agree(max_examples: int) -> Any:
    """Hypothesis over cohort files; each example asks a BigQuery server, which takes two seconds."""
    chosen = settings(
        max_examples=max_examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )

    @chosen
    @given(content=SPECS)
    def engines_and_second_opinion(content: Any, local: LocalEngine, bigquery: BigQueryEngine) -> None:
        _agree(content, local, bigquery)

    return engines_and_second_opinion


test_engines_and_second_opinion_agree = agree(4)
test_engines_and_second_opinion_agree_on_many = pytest.mark.slow(agree(40))


def _agree(content: Any, local: LocalEngine, bigquery: BigQueryEngine) -> None:
    content = {key: value for key, value in content.items() if value}
    for part in ("exclude", "images"):
        if isinstance(content.get(part), dict):
            content[part] = {key: value for key, value in content[part].items() if value != []}
    try:
        spec = CohortSpec.model_validate({"idc_version": 25, **content})
    except ValueError:
        return  # contradictory; see test_spec
    here = answer(spec, Sources(idc=False), local)
    there = answer(spec, Sources(), bigquery)
    assert here == there
    uids = [] if len(here) == 1 else sorted(here[0]["seg_series_uid"].to_pylist())
    assert uids == second_opinion(spec)


@pytest.mark.parametrize(
    "attack", ["'; DROP TABLE segmentations; --", "x' OR '1'='1", '") OR TRUE --', "@collections"]
)
@pytest.mark.parametrize(
    "key", ["collections", "patients", "licenses", "algorithm_names", "analysis_results"]
)
def test_values_are_never_sql(key: str, attack: str, local: LocalEngine) -> None:
    spec = CohortSpec.model_validate({"idc_version": 25, key: [attack]})
    with pytest.raises(SelectError):
        select(spec, Sources(idc=False), local)
    everything = select(CohortSpec(idc_version=25), Sources(idc=False), local)
    assert everything.series.num_rows == 6


def test_attacks_reach_bigquery_as_parameters_only(server: Any, bigquery: BigQueryEngine) -> None:
    attack = "'; DROP TABLE segmentations; --"
    spec = CohortSpec.model_validate({"idc_version": 25, "patients": ["P1", attack]})
    assert select(spec, Sources(), bigquery).series.num_rows == 2
    assert all(attack not in job["query"]["query"] for job in server.queries())
    assert any(attack in str(job["query"].get("queryParameters")) for job in server.queries())
