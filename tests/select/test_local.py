"""The embedded engine over files: own indexes, IDC's index, the mirror, and what can be wrong with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segtools import schema
from segtools.errors import (
    EnvironmentProblem,
    MissingError,
    QueryError,
    SelectError,
    SpecError,
)
from segtools.select import (
    Sources,
    parse_spec,
    plan,
    select,
    structures,
)
from segtools.select.engines.duckdb import LocalEngine
from segtools.terminology.names import close_matches
from tests.select.world import (
    LIVER,
    SEG,
    dicom_all,
    segment,
    segmentations,
)


def index(folder: Path, collection: str = "phantom", uids: tuple[str, ...] = ("5.1", "5.2")) -> Path:
    folder.mkdir()
    segments = [segment(uid, 1, LIVER) for uid in uids]
    series = [
        {
            "collection_id": collection, "PatientID": f"P{uid}", "StudyInstanceUID": "4.1", "SeriesInstanceUID": uid,
            "crdc_series_uuid": f"c-{uid}", "Modality": "SEG", "SOPClassUID": SEG, "series_size_bytes": 10,
            "series_aws_url": f"file:///archive/{uid}/", "instance_count": 1,
        }
        for uid in uids
    ]  # fmt: skip
    objects = [
        {"SeriesInstanceUID": uid, "SOPInstanceUID": f"{uid}.1", "aws_url": f"file:///archive/{uid}/a.dcm",
         "instance_size": 10, "instance_hash": "aa"}
        for uid in uids
    ]  # fmt: skip
    pq.write_table(schema.IDC_SEGMENTATIONS.from_rows(segments), folder / "segmentations.parquet")
    pq.write_table(schema.IDC_SERIES.from_rows(series), folder / "series_index.parquet")
    pq.write_table(schema.IDC_INSTANCES.from_rows(objects), folder / "instances.parquet")
    return folder


def idc_index(folder: Path) -> Path:
    """A little idc-index-data: v25, with one series retired since v24."""
    folder.mkdir()
    rows = [
        {
            **{k: row[k] for k in ("collection_id", "analysis_result_id", "PatientID", "StudyInstanceUID",
                                   "SeriesInstanceUID", "crdc_series_uuid", "Modality", "SOPClassUID",
                                   "TransferSyntaxUID", "SeriesDescription", "license_short_name", "source_DOI")},
            "series_aws_url": row["series_aws_url"] + "*", "series_size_MB": 0.0001, "instanceCount": 1,
            "series_init_idc_version": 25 if row["SeriesInstanceUID"] == "1.2" else 1,
            "series_revised_idc_version": 25 if row["SeriesInstanceUID"] == "1.2" else 1,
        }
        for row in dicom_all().to_pylist()
        if row["SOPInstanceUID"].endswith(".1")
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "idc_index.parquet")
    former = {
        "collection_id": "nlst", "PatientID": "P9", "SeriesInstanceUID": "1.0", "StudyInstanceUID": "2.9",
        "Modality": "SEG", "gcs_bucket": "b", "crdc_series_uuid": "uuid-old", "series_size_MB": 0.01,
        "series_aws_url": "s3://b/uuid-old/*", "aws_bucket": "b", "min_idc_version": 3, "max_idc_version": 24,
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([former]), folder / "prior_versions_index.parquet")
    pq.write_table(pa.table({"idc_version": list(range(1, 26))}), folder / "version_metadata_index.parquet")
    return folder


def mirrored(root: Path) -> Path:
    folder = root / "idc_v25" / "segmentations"
    folder.mkdir(parents=True)
    pq.write_table(segmentations(), folder / "0.parquet")
    size = (folder / "0.parquet").stat().st_size
    (folder / "mirror.json").write_text(f'{{"files": [{{"name": "0.parquet", "bytes": {size}}}]}}')
    return root


def uids(selection) -> list[str]:
    return sorted(selection.series["seg_series_uid"].to_pylist())


def test_own_index(tmp_path: Path) -> None:
    selection = select(parse_spec("structures: liver"), Sources((index(tmp_path / "i"),), idc=False))
    assert uids(selection) == ["5.1", "5.2"]
    assert selection.series.schema.equals(schema.SELECTION.arrow)
    assert selection.objects.schema.equals(schema.OBJECTS.arrow)
    assert selection.objects["md5"].to_pylist() == ["aa", "aa"]
    assert selection.idc_version is None
    assert selection.segments is not None
    assert selection.segments["type_meaning"].to_pylist() == ["Liver", "Liver"]
    assert plan(selection, parse_spec("")).segments == 2


def test_idc_mirror_and_own_index_together(tmp_path: Path) -> None:
    sources = Sources(
        (index(tmp_path / "i", uids=("5.1", "1.1")),),
        idc=True,
        mirror=mirrored(tmp_path / "m"),
        idc_index=idc_index(tmp_path / "idc"),
    )
    selection = select(parse_spec("structures: liver"), sources)
    assert uids(selection) == ["1.1", "1.2", "5.1"]
    # 1.1 is in both: the own copy counts, once, with its one segment.
    own = {row["seg_series_uid"]: row for row in selection.series.to_pylist()}
    assert own["1.1"]["series_url"] == "file:///archive/1.1/"
    assert (own["1.1"]["idc_version"], own["1.2"]["idc_version"]) == (None, 25)
    assert own["1.2"]["series_url"] == "s3://idc-open-data/uuid-1.2/"
    assert own["1.2"]["size_bytes"] == 100


def test_without_mirror_series_filters_work_and_segment_filters_say_why_not(tmp_path: Path) -> None:
    sources = Sources(idc_index=idc_index(tmp_path / "idc"), mirror=tmp_path / "none")
    assert uids(select(parse_spec(""), sources)) == ["1.1", "1.2", "1.3", "1.4", "1.5", "1.7"]
    assert uids(select(parse_spec("segmentation_types: LABELMAP"), sources)) == ["1.5"]
    for text in ("structures: liver", "segmentation_types: BINARY", "laterality: left"):
        with pytest.raises(SelectError, match="idcseg mirror") as caught:
            select(parse_spec(text), sources)
        assert caught.value.code == "source-missing"
    with pytest.raises(SelectError, match="idcseg mirror"):
        structures(sources, LocalEngine())


def test_earlier_release(tmp_path: Path) -> None:
    from segtools.select import changes

    sources = Sources(idc_index=idc_index(tmp_path / "idc"))
    former = select(parse_spec("idc_version: 24\ncollections: [nlst]"), sources)
    assert former.idc_version == 24
    assert uids(former) == ["1.0", "1.1"]
    assert any("v24" in warning for warning in former.warnings)
    found = [
        (row["change"], row["seg_series_uid"]) for row in changes(24, 25, sources, LocalEngine()).to_pylist()
    ]
    assert found == [("added", "1.2"), ("retired", "1.0")]
    with pytest.raises(SelectError, match="v1 to v25") as caught:
        select(parse_spec("idc_version: 26"), sources)
    assert caught.value.code == "version-unknown"


def test_unknown_names_have_near_matches(local: LocalEngine) -> None:
    def refusal(text: str) -> SelectError:
        with pytest.raises(SelectError) as caught:
            select(parse_spec(f"idc_version: 25\n{text}"), Sources(idc=False), local)
        return caught.value

    found = refusal("structures: liverr")
    assert (found.code, found.attrs["near"]) == ("unknown-structure", ["Liver (10200004, SCT)"])
    assert "Did you mean Liver (10200004, SCT)?" in str(found)
    assert refusal("structures: 'SCT:999'").code == "unknown-structure"
    assert refusal("structures: ['SCT:10200004', 'SCT:999']").code == "unknown-structure"
    found = refusal("collections: [nlst, lidcc]")
    assert (found.code, found.attrs["near"]) == ("unknown-collection", ["lidc"])
    assert refusal("collections: kirc\nstructures: liver").code == "no-match"


@pytest.mark.parametrize(
    ("text", "code", "key", "near"),
    [
        ("exclude: {licenses: CC BY-NC 3}", "no-match", "exclude.licenses", ["CC BY-NC 3.0"]),
        ("exclude: {licenses: CC BY-ND}", "no-match", "exclude.licenses", []),
        ("exclude: {collections: [nlst, lidk]}", "unknown-collection", "exclude.collections", ["lidc"]),
        (
            "exclude: {analysis_results: total_seg}",
            "unknown-collection",
            "exclude.analysis_results",
            ["totalseg"],
        ),
        ("exclude: {patients: [P11]}", "no-match", "exclude.patients", ["P1"]),
        ("exclude: {series_uids: ['1.22']}", "no-match", "exclude.series_uids", ["1.2"]),
        ("collections: ct*", "unknown-collection", "collections", []),
        ("licenses: [CC BY 4]", "no-match", "licenses", ["CC BY 4.0"]),
        ("dois: 10.1/b", "no-match", "dois", ["10.1/a"]),
        ("structures: kidneys_left", "unknown-structure", "structures", ["kidney_left"]),
        ("structures: spleen*", "unknown-structure", "structures", []),
        ("regions: long", "unknown-structure", "regions", ["Lung (39607008, SCT)"]),
        (
            "algorithm_names: [TotalSegmentator, TotalSegmentor]",
            "no-match",
            "algorithm_names",
            ["TotalSegmentator"],
        ),
    ],
)
def test_names_that_match_nothing_are_refused(
    text: str, code: str, key: str, near: list[str], local: LocalEngine
) -> None:
    with pytest.raises(SelectError) as caught:
        select(parse_spec(f"idc_version: 25\n{text}"), Sources(idc=False), local)
    assert (caught.value.code, caught.value.attrs["key"]) == (code, key)
    assert caught.value.attrs["near"][: len(near)] == near


def test_a_code_without_its_scheme_is_told_how(local: LocalEngine) -> None:
    with pytest.raises(SelectError, match='"SCT:10200004"'):
        select(parse_spec("idc_version: 25\nstructures: '10200004'"), Sources(idc=False), local)
    with pytest.raises(SpecError, match='as "SCT:10200004"'):
        parse_spec("structures: 10200004")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("licenses: CC BY", ["1.1", "1.2", "1.3", "1.5", "1.7"]),
        ("licenses: {commercial: true}", ["1.1", "1.2", "1.3", "1.5", "1.7"]),
        ("licenses: non-commercial", ["1.4"]),
        ("licenses: cc by nc", ["1.4"]),
        ("exclude: {licenses: non-commercial}", ["1.1", "1.2", "1.3", "1.5", "1.7"]),
        ("exclude: {licenses: 'CC BY-NC*'}", ["1.1", "1.2", "1.3", "1.5", "1.7"]),
        ("collections: 'k*'", ["1.5"]),
        ("collections: ['l?dc', til]", ["1.3", "1.4", "1.7"]),
        ("structures: kidn*_left", ["1.1", "1.2"]),
        ("structures: nodule_lung", ["1.3", "1.4"]),
        ("structures: nodule_lung_right", ["1.3"]),
        ("structures: right nodule", ["1.3"]),
        ("structures: lung*", None),
        ("regions: lung_right", ["1.3"]),
        ("algorithm_names: total*", ["1.1", "1.2", "1.4", "1.7"]),
        ("exclude: {series_uids: ['1.1', '1.99']}", ["1.2", "1.3", "1.4", "1.5", "1.7"]),
    ],
)
def test_families_and_patterns(text: str, expected: list[str] | None, local: LocalEngine) -> None:
    spec = parse_spec(f"idc_version: 25\n{text}")
    if expected is None:
        with pytest.raises(SelectError, match="does not occur"):
            select(spec, Sources(idc=False), local)
    else:
        assert uids(select(spec, Sources(idc=False), local)) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("{kidney_left: 1, liver: 3}", {"kidney_left": 1, "liver": 3}),
        ("{kidney: 1, kidney_left: 2}", {"kidney_left": 2, "kidney_right": 1}),
        ("{Kidney: 1}", {"kidney_left": 1, "kidney_right": 1}),
        ("{left kidney: 4}", {"kidney_left": 4}),
        ("{'*_left': 1, 'kidney*': 2}", {"kidney_left": 1, "kidney_right": 2}),
    ],
)
def test_labels_by_any_name_of_a_structure(labels: str, expected: dict[str, int], local: LocalEngine) -> None:
    spec = parse_spec(f"idc_version: 25\ncollections: nlst\noutput: {{labels: {labels}}}")
    assert dict(select(spec, Sources(idc=False), local).labels) == expected


@pytest.mark.parametrize("name", ["kidneys", "nodule", "spleen*"])
def test_labels_of_what_is_not_in_the_cohort_are_refused(name: str, local: LocalEngine) -> None:
    """Nodules occur, but not in this collection."""
    spec = parse_spec(f"idc_version: 25\ncollections: nlst\noutput: {{labels: {{'{name}': 1, liver: 2}}}}")
    with pytest.raises(SelectError) as caught:
        select(spec, Sources(idc=False), local)
    assert (caught.value.code, caught.value.attrs["key"]) == ("unknown-structure", "output.labels")


def test_what_duckdb_offers_instead_is_told(tmp_path: Path, local: LocalEngine) -> None:
    query(tmp_path / "own", "SELECT seg_series_id AS seg_series_uid FROM segment_meanings")
    with pytest.raises(QueryError, match=r"Candidate bindings.*seg_series_uid") as caught:
        ask(tmp_path, local)
    assert "LINE" not in str(caught.value)


def test_a_memory_limit_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="4 elephants") as caught:
        LocalEngine(memory_limit="4 elephants").open(Sources(idc=False))
    assert caught.value.code == "settings-invalid"


def test_partial_matches_are_warned_of(local: LocalEngine) -> None:
    text = "idc_version: 25\ncollections: [nlst, til]\nstructures: SCT:10200004\npatients: [P1, P2, nobody]"
    selection = select(parse_spec(text), Sources(idc=False), local)
    assert uids(selection) == ["1.1", "1.2"]
    assert any("'til'" in warning for warning in selection.warnings)
    assert any("nobody" in warning for warning in selection.warnings)


def test_structures_are_listed_and_found(local: LocalEngine) -> None:
    rows = structures(Sources(idc=False), local, "kidny", 25).to_pylist()
    assert {row["structure"] for row in rows} == {"kidney_left", "kidney_right"}
    for like in ("SCT:64033007", "SRT:T-71000", "64033007"):
        found = structures(Sources(idc=False), local, like, 25).to_pylist()
        assert {row["structure"] for row in found} == {"kidney_left", "kidney_right"}, like
    found = structures(Sources(idc=False), local, "SCT:64033007/left", 25).to_pylist()
    assert {row["laterality"] for row in found} == {"left"}
    found = structures(Sources(idc=False), local, "lung", 25).to_pylist()
    assert {row["structure"] for row in found} == {"nodule_lung_right", "nodule_lung_bilateral"}
    assert close_matches("liverr", ["Liver", "Spleen"]) == ["Liver"]


def query(folder: Path, sql: str, columns: str = "seg_series_uid: STRING", parameters: str = "{}") -> Path:
    folder.mkdir()
    (folder / "query.sql").write_text(sql)
    (folder / "query.yaml").write_text(f"parameters: {parameters}\ncolumns:\n  {columns}\n")
    return folder


def ask(tmp_path: Path, local: LocalEngine, given: str = "{}"):
    spec = parse_spec(
        f"idc_version: 25\nquery: {{folder: own, parameters: {given}}}",
        path=str(tmp_path / "c.yaml"),
        base=tmp_path,
    )
    return select(spec, Sources(idc=False), local)


def test_users_query(tmp_path: Path, local: LocalEngine) -> None:
    sql = "SELECT seg_series_uid FROM segment_meanings GROUP BY 1 HAVING COUNT(*) >= @collections"
    query(tmp_path / "own", sql, parameters="{collections: {type: INT64, default: 3}}")
    assert uids(ask(tmp_path, local)) == ["1.1"]
    assert uids(ask(tmp_path, local, "{collections: 2}")) == ["1.1", "1.2", "1.7"]
    with pytest.raises(SpecError):
        ask(tmp_path, local, "{other: 2}")
    with pytest.raises(QueryError):
        ask(tmp_path, local, "{collections: x}")


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT SeriesInstanceUID AS uid FROM segmentations", "seg_series_uid: STRING"),
        ("SELECT SegmentNumber AS seg_series_uid FROM segmentations", "seg_series_uid: STRING"),
        ("SELECT SeriesInstanceUID AS other FROM segmentations", "other: STRING"),
        ("SELECT seg_series_uid FROM nowhere", "seg_series_uid: STRING"),
        ("SELECT seg_series_uid FROM segment_meaning", "seg_series_uid: STRING"),
        ("SELEC 1", "seg_series_uid: STRING"),
        ("SELECT 'a' AS seg_series_uid; SELECT 2", "seg_series_uid: STRING"),
        ("DROP TABLE segmentations", "seg_series_uid: STRING"),
        ("SELECT content AS seg_series_uid FROM read_text('/etc/hostname')", "seg_series_uid: STRING"),
        ("SELECT column0 AS seg_series_uid FROM `/etc/hostname`", "seg_series_uid: STRING"),
        ("SELECT seg_series_uid FROM other.dataset.segment_meanings", "seg_series_uid: STRING"),
        ("SELECT @nowhere AS seg_series_uid", "seg_series_uid: STRING"),
        ("SELECT 1/0 + no_function(2) AS seg_series_uid", "seg_series_uid: STRING"),
    ],
)
def test_users_query_that_is_none(sql: str, columns: str, tmp_path: Path, local: LocalEngine) -> None:
    query(tmp_path / "own", sql, columns)
    with pytest.raises(QueryError) as caught:
        ask(tmp_path, local)
    assert caught.value.code == "query-invalid"


def test_bad_tables(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        select(parse_spec(""), Sources((tmp_path / "none",), idc=False))
    folder = index(tmp_path / "i")
    (folder / "instances.parquet").unlink()
    with pytest.raises(SelectError, match=r"lacks instances\.parquet"):
        select(parse_spec(""), Sources((folder,), idc=False))
    (folder / "instances.parquet").write_bytes(b"PAR1")
    with pytest.raises(SelectError) as caught:
        select(parse_spec(""), Sources((folder,), idc=False))
    assert caught.value.code == "table-invalid"


def test_table_without_a_needed_column(tmp_path: Path) -> None:
    folder = index(tmp_path / "i")
    table = pq.read_table(folder / "series_index.parquet")
    pq.write_table(table.drop_columns(["PatientID"]), folder / "series_index.parquet")
    with pytest.raises(SelectError, match="PatientID"):
        select(parse_spec(""), Sources((folder,), idc=False))
    nulls = pa.nulls(table.num_rows, pa.string())
    pq.write_table(table.set_column(2, "PatientID", nulls), folder / "series_index.parquet")
    with pytest.raises(SelectError, match="patient_id") as caught:
        select(parse_spec(""), Sources((folder,), idc=False))
    assert caught.value.code == "table-invalid"


def test_no_idc_index(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        select(parse_spec(""), Sources(idc_index=tmp_path))
    assert (caught.value.code, caught.value.exit_code) == ("source-missing", 4)


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, segtools.select as s; heavy = {'duckdb', 'sqlglot', 'google.cloud.bigquery', 'pydicom'};"
        "s.load_spec, s.plan; sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
