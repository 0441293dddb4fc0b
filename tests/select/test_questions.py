"""The thirty questions of docs/cohorts.md: each cohort file there does what is written beside it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from segtools import schema
from segtools.select import (
    LocalEngine,
    Sources,
    load_spec,
    query,
    select,
)
from tests.select.world import (
    ANATOMY,
    CT,
    DICOM_ALL_SCHEMA,
    LEFT,
    LESION,
    code,
    instance,
    segment,
)

PAGE = Path(__file__).parents[2] / "docs" / "cohorts.md"
QUESTIONS = {
    int(number): text
    for number, text in re.findall(r"^\*\*(\d+)\. (.*?)(?=^\*\*\d+\. |\Z)", PAGE.read_text(), re.S | re.M)
}
BY_MIRROR = {number for number, text in QUESTIONS.items() if "(mirror)" in text}


def cohort(number: int, folder: Path):
    found = re.search(r"```yaml\n(.*?)```", QUESTIONS[number], re.S)
    assert found is not None
    (folder / "c.yaml").write_text(found[1])
    return load_spec(folder / "c.yaml")


def test_there_are_thirty_and_all_but_one_have_a_file() -> None:
    assert sorted(QUESTIONS) == list(range(1, 31))
    assert [number for number, text in QUESTIONS.items() if "```yaml" not in text] == [28]


@pytest.mark.skipif(importlib.util.find_spec("idc_index_data") is None, reason="no idc-index-data")
@pytest.mark.parametrize("number", sorted(set(QUESTIONS) - BY_MIRROR - {28}))
def test_on_the_index_of_idc(number: int, tmp_path: Path) -> None:
    """The numbers in the page are those of IDC v25."""
    (tmp_path / "patients.csv").write_text("PatientID\nLIDC-IDRI-0001\n")
    (tmp_path / "series.txt").write_text("1.2.276.0.7230010.3.1.3.0.89314.1553284067.990548\n")
    series = select(cohort(number, tmp_path), Sources()).series
    assert series.num_rows > 0
    stated = re.search(r"# ([\d,]+) series", QUESTIONS[number])
    if stated is not None:
        assert f"{series.num_rows:,}" == stated[1]


KIDNEY, LIVER, SPLEEN = (
    code("64033007", "SCT", "Kidney"),
    code("10200004", "SCT", "Liver"),
    code("78961009", "SCT", "Spleen"),
)
MASS, NEOPLASM = code("108369006", "SCT", "Neoplasm"), code("4147007", "SCT", "Mass")
ZONE = code("399384005", "SCT", "Transition zone of prostate")
TOTAL = "totalsegmentator_ct_segmentations"


def world() -> LocalEngine:
    """A small IDC in which every question has an answer, and something it leaves out."""
    images: dict[str, dict[str, Any]] = {
        "9.1": {"Modality": "CT", "SliceThickness": "1.0", "Manufacturer": "SIEMENS"},
        "9.2": {"Modality": "CT", "SliceThickness": "5.0", "Manufacturer": "GE MEDICAL"},
        "9.3": {"Modality": "MR", "SeriesDescription": "ax T2 tse"},
        "9.4": {"Modality": "MR", "SeriesDescription": "ADC"},
    }
    nsclc = {"collection_cancerType": "Non-small Cell Lung Cancer", "collection_id": "nsclc"}
    series: dict[str, dict[str, Any]] = {
        "1.1": {"PatientID": "P1", "analysis_result_id": TOTAL},
        "1.2": {"PatientID": "P1"},
        "1.3": {"PatientID": "P2", "analysis_result_id": TOTAL},
        "1.4": nsclc,
        "1.5": nsclc,
        "1.6": {"PatientID": "P6"},
        "1.7": {"PatientID": "P7"},
        "1.8": {"PatientID": "P8"},
    }
    rows = [instance(uid, **more) for uid, more in series.items()]
    rows += [instance(uid, SOPClassUID=CT, **more) for uid, more in images.items()]
    by_hand = {"algorithm": "MANUAL", "algorithm_name": None}
    segments = [
        *(segment("1.1", number, LIVER, algorithm_name="TotalSegmentator v1.5") for number in range(1, 10)),
        segment("1.1", 10, SPLEEN, source="9.2", algorithm_name="TotalSegmentator v1.5"),
        segment("1.2", 1, LIVER, **by_hand),
        segment("1.2", 2, KIDNEY, sides=[LEFT], **by_hand),
        segment("1.3", 1, LIVER, seg_type="FRACTIONAL", algorithm_name="nnU-Net"),
        segment("1.3", 2, KIDNEY, sides=[LEFT], algorithm_name="nnU-Net"),
        segment("1.4", 1, MASS, category=LESION, source="9.1", algorithm_name="nnU-Net"),
        segment("1.5", 1, MASS, category=LESION, source="9.2", algorithm_name="nnU-Net"),
        segment("1.6", 1, ZONE, category=ANATOMY, source="9.3", algorithm_name="nnU-Net"),
        segment("1.7", 1, ZONE, category=ANATOMY, source="9.4", algorithm_name="nnU-Net"),
        segment("1.8", 1, NEOPLASM, category=LESION, region=KIDNEY, algorithm_name="nnU-Net"),
    ]
    return LocalEngine(threads=1, tables={
        "dicom_all": pa.Table.from_pylist(rows, schema=DICOM_ALL_SCHEMA),
        "segmentations": pa.Table.from_pylist(segments, schema=schema.IDC_SEGMENTATIONS.arrow),
    })  # fmt: skip


ANSWERS = {
    2: ["1.2"],
    3: ["1.1"],
    4: ["1.4"],
    5: ["1.6"],
    6: ["1.1"],
    14: ["1.3"],
    19: ["1.1", "1.4", "1.5", "1.6", "1.7"],
    21: ["1.1"],
    22: ["1.1", "1.2"],
    26: ["1.4"],
    29: ["1.8"],
}


@pytest.mark.parametrize("number", sorted(BY_MIRROR))
def test_on_segments(number: int, tmp_path: Path) -> None:
    engine, sources = world(), Sources(idc=False)
    command = re.search(r'idcseg query "(.*?)" -o (\S+?)`', QUESTIONS[number])
    if command is not None:
        (column,) = (table := query(command[1], sources, engine, 25)).column_names
        text = "".join(f"{value}\n" for value in [column, *table[column].to_pylist()])
        (tmp_path / command[2]).write_text(text)
    spec = cohort(number, tmp_path).model_copy(update={"idc_version": 25})
    found = select(spec, sources, engine).series["seg_series_uid"].to_pylist()
    assert sorted(found) == ANSWERS[number]
