"""The second reader agrees with a sound dataset and notices each kind of damage."""

from __future__ import annotations

import gzip
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import segtools
from segtools.check import audit, check_catalog
from segtools.finding import Finding
from segtools.schema import FINDINGS, SEGMENTS
from segtools.write.instance import WriteOptions
from tests.factories.dataset import commit, make_series, pages, write_part

ALL = [make_series(number) for number in (1, 2)]


@pytest.fixture
def dataset_of(layout):
    def make(**choices):
        write_part(layout, ALL, **choices)
        commit(layout, ALL)
        return layout

    return make


def findings(layout):
    with segtools.open(layout.root) as dataset:
        table = audit(dataset)
    assert table.schema.equals(FINDINGS.arrow)
    return table.to_pylist()


def column_of(row):
    """The column that a finding about a measure names."""
    return row["message"].split(": ")[1].split()[0]


def rules(layout):
    return sorted(row["rule"] for row in findings(layout))


def first_volume(layout):
    return sorted(layout.volumes.rglob("*.nii.gz"))[0]


def rewrite(path, change):
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content)))


def tamper(layout, table, change):
    """Rewrite a table by `change` and make dataset.json agree with it."""
    (path,) = pages(layout, table)
    pq.write_table(change(pq.ParquetFile(path).read()), path)
    manifest = json.loads(layout.manifest.read_text())
    content, rows = path.read_bytes(), pq.read_metadata(path).num_rows
    manifest["tables"][table]["rows"] = rows
    manifest["tables"][table]["files"][0] |= {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": rows,
    }
    layout.manifest.write_text(json.dumps(manifest))


def setting(name, values):
    def change(table):
        at = table.schema.get_field_index(name)
        return table.set_column(
            at, table.schema.field(at).with_nullable(True), pa.array(values(table[name]), table[name].type)
        )

    return change


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"layers": 2},
        {"fractional": True},
        {"options": WriteOptions("masks")},
        {"options": WriteOptions("none")},
    ],
    ids=["label map", "layers", "fractions", "masks", "none"],
)
def test_a_sound_dataset_has_no_findings(dataset_of, choices):
    assert findings(dataset_of(**choices)) == []


def test_a_changed_voxel(dataset_of):
    layout = dataset_of()

    def change(content):
        at = 352 + bytes(content[352:]).index(1)
        content[at] = 0

    rewrite(first_volume(layout), change)
    found = findings(layout)
    counts = {column_of(row): row for row in found if row["rule"] == "count-mismatch"}
    count = counts["voxel_count"]
    assert (count["segment_number"], count["observed"], count["expected"]) == (1, "18", "19")
    assert count["severity"] == "critical"
    assert {"volume_ml", "centroid_r_mm"} <= counts.keys()


def test_a_label_without_a_row(dataset_of):
    layout = dataset_of()

    def change(content):
        content[352 + bytes(content[352:]).index(0)] = 77

    rewrite(first_volume(layout), change)
    assert any("labels no row names" in row["message"] for row in findings(layout))


def test_a_shifted_affine(dataset_of):
    layout = dataset_of()
    rewrite(
        first_volume(layout), lambda content: content.__setitem__(slice(292, 296), np.float32(-120).tobytes())
    )
    assert "affine-mismatch" in rules(layout)


@pytest.mark.parametrize("damage", ["cut", "flip", "huge", "text"])
def test_an_unreadable_volume(dataset_of, damage):
    layout = dataset_of()
    path = first_volume(layout)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-20])
    elif damage == "flip":
        path.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])
    elif damage == "huge":
        rewrite(path, lambda raw: raw.__setitem__(slice(42, 48), np.array([30000] * 3, "<i2").tobytes()))
    else:
        path.write_bytes(b"not gzip")
    found = [row for row in findings(layout) if row["rule"] == "file-altered"]
    assert any("not a valid NIfTI" in row["message"] for row in found)


def test_a_missing_volume(dataset_of):
    layout = dataset_of()
    first_volume(layout).unlink()
    assert "file-missing" in rules(layout)


def test_a_mask_with_other_voxels(dataset_of):
    layout = dataset_of(options=WriteOptions("masks"))
    path = next(layout.volumes.rglob("*_mask.nii.gz"))
    rewrite(path, lambda content: content.__setitem__(352 + bytes(content[352:]).index(1), 0))
    assert "count-mismatch" in rules(layout)


def test_files_nobody_names(dataset_of):
    layout = dataset_of()
    (first_volume(layout).parent / "notes.txt").touch()
    (layout.volumes / "00000000_dseg.json").touch()
    assert rules(layout) == ["undeclared-file"] * 2


def test_a_table_with_other_bytes_of_the_same_length(dataset_of):
    layout = dataset_of()
    (path,) = pages(layout, "segments")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    (finding,) = findings(layout)
    assert (finding["rule"], finding["scope"]) == ("file-altered", "dataset")
    assert "is not the committed one" in finding["message"]


def test_another_number_of_rows(dataset_of):
    layout = dataset_of()
    manifest = json.loads(layout.manifest.read_text())
    manifest["tables"]["series"]["rows"] = 3
    layout.manifest.write_text(json.dumps(manifest))
    (finding,) = findings(layout)
    assert (finding["rule"], finding["observed"], finding["expected"]) == ("file-altered", "2", "3")


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("segments", setting("label", lambda v: [None] * len(v)), None),
        ("segments", setting("structure", lambda v: [None] * len(v)), "structure has 6 rows that are null"),
        ("segments", setting("status", lambda v: ["fine"] * len(v)), "none of ok warned failed"),
        ("segments", setting("voxel_count", lambda v: [-1] * len(v)), "below 0"),
        ("segments", setting("centroid_r_mm", lambda v: [float("nan")] * len(v)), "not finite"),
        ("segments", setting("segment_id", lambda v: ["x"] * len(v)), "repeats 1 values of its key"),
        (
            "segments",
            lambda t: t.take(pc.sort_indices(t, [("segment_number", "descending")])),
            "out of order",
        ),
        ("segments", lambda t: t.drop_columns(["label"]), "has not the declared columns (label)"),
        (
            "segments",
            lambda t: t.set_column(t.schema.get_field_index("layer"), "layer", t["layer"].cast(pa.int64())),
            "type int64, declared is int32",
        ),
        ("series", lambda t: t.slice(0, 0), None),
    ],
)
def test_tables_against_their_declaration(dataset_of, table, change, message):
    layout = dataset_of()
    tamper(layout, table, change)
    with segtools.open(layout.root) as dataset:
        from segtools.check.schema_rules import check_table

        found = check_table(dataset, SEGMENTS)
    if message is None:
        assert found == []
    else:
        assert any(message in finding.message for finding in found)
        assert {finding.code for finding in found} == {"schema-violation"}


def test_tables_without_a_column_end_the_audit_with_a_finding(dataset_of):
    layout = dataset_of()
    tamper(layout, "segments", lambda t: t.drop_columns(["volume_path"]))
    assert rules(layout) == ["schema-violation"]


def test_paths_out_of_the_dataset_are_not_followed(dataset_of, tmp_path):
    layout = dataset_of()
    outside = tmp_path / "outside.nii.gz"
    outside.write_bytes(first_volume(layout).read_bytes())
    tamper(layout, "segments", setting("volume_path", lambda v: ["../outside.nii.gz"] * len(v)))
    assert any("does not list ../outside.nii.gz" in row["message"] for row in findings(layout))


def test_findings_with_and_without_a_segment_are_in_order(dataset_of):
    doubts = tuple(
        Finding("spacing-assumed", f"doubt {n}", segment_number=number, observed=None if n else "1")
        for n, number in enumerate((3, None, 1, None))
    )
    layout = dataset_of(findings=doubts)
    assert findings(layout) == []
    with segtools.open(layout.root) as dataset:
        checks = check_catalog(dataset)
    commit(layout, ALL, checks=checks)
    assert findings(layout) == []


MEASURES = (
    *("voxel_count", "volume_ml", "slice_count", "component_count", "largest_component_fraction"),
    *("touches_border", "overlap_voxel_count"),
    *(f"bbox_{end}_{axis}" for axis in "ijk" for end in ("min", "max")),
    *(f"centroid_{axis}_mm" for axis in "ras"),
    *(f"spacing_{axis}_mm" for axis in "ijk"),
)
KINDS = {"plain": {}, "layers": {"layers": 2}, "fractions": {"fractional": True}}


@pytest.mark.parametrize("column", MEASURES)
@pytest.mark.parametrize(
    "choices", [{}, {"layers": 2}, {"fractional": True}], ids=["plain", "layers", "fractions"]
)
def test_every_measure_is_counted_again(dataset_of, column, choices):
    """Each column by itself: another value in one row is found, and nothing else is."""
    layout = dataset_of(**choices)

    def other(values):
        first, *rest = values.to_pylist()
        return [not first if isinstance(first, bool) else first * 1.001 + 1, *rest]

    def change(table):
        at = table.schema.get_field_index(column)
        values = other(table[column])
        if not pa.types.is_boolean(table[column].type) and not pa.types.is_floating(table[column].type):
            values = [None if value is None else int(value) for value in values]
        return table.set_column(at, table.schema.field(at), pa.array(values, table[column].type))

    tamper(layout, "segments", change)
    found = [row for row in findings(layout) if row["rule"] == "count-mismatch"]
    assert [column_of(row) for row in found] == [column]
    assert found[0]["segment_number"] == 1


def test_two_swapped_voxels_of_equal_counts(dataset_of):
    layout = dataset_of()

    def swap(content):
        body = bytes(content[352:])
        first, second = body.index(1), body.index(2)
        content[352 + first], content[352 + second] = 2, 1

    rewrite(first_volume(layout), swap)
    assert {"file-altered", "count-mismatch"} <= set(rules(layout))


@pytest.mark.parametrize("extension", ["json", "tsv"])
def test_an_altered_sidecar(dataset_of, extension):
    layout = dataset_of()
    path = sorted(layout.volumes.rglob(f"*.{extension}"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (found,) = findings(layout)
    assert (found["rule"], found["severity"]) == ("file-altered", "critical")
    assert path.name in found["message"]


@pytest.mark.parametrize("column", ["segment_count", "volume_count", "volume_bytes", "finding_count"])
def test_tables_that_contradict_each_other(dataset_of, column):
    layout = dataset_of()
    tamper(layout, "series", setting(column, lambda values: [values[0].as_py() + 1, *values.to_pylist()[1:]]))
    found = [row for row in findings(layout) if row["rule"] == "count-mismatch"]
    assert [column in row["message"] for row in found] == [True]


@pytest.mark.parametrize("table", ["segments", "files"])
def test_a_table_without_its_rows(dataset_of, table):
    """It agrees with dataset.json, but not with the table of series."""
    layout = dataset_of()
    tamper(layout, table, lambda t: t.slice(0, 0))
    assert "count-mismatch" in rules(layout)


@pytest.mark.parametrize(
    ("assumed", "null"),
    [
        ({"slice spacing"}, {"spacing_k_mm", "volume_ml"}),
        ({"place"}, {"centroid_r_mm", "centroid_a_mm", "centroid_s_mm"}),
        (
            {"place", "pixel spacing", "slice spacing"},
            {"spacing_i_mm", "spacing_j_mm", "spacing_k_mm", "volume_ml"}
            | {"centroid_r_mm", "centroid_a_mm", "centroid_s_mm"},
        ),
    ],
    ids=lambda value: "-".join(sorted(value)).replace(" ", "_")[:30],
)
def test_geometry_that_nobody_stated_is_null_and_agrees(dataset_of, assumed, null):
    layout = dataset_of(assumed=frozenset(assumed))
    with segtools.open(layout.root) as dataset:
        row = dataset.segments("voxel_count > 0").to_pylist()[0]
        assert dataset.volume(row).affine_ras_mm.shape == (4, 4)  # the file's own
    columns = [name for name in row if name.startswith(("spacing_", "centroid_", "volume_ml"))]
    assert {name for name in columns if row[name] is None} == null
    assert row["affine_ras_mm"] is None
    assert rules(layout) == []


def test_a_measure_of_what_nobody_stated_is_noticed(dataset_of):
    layout = dataset_of(assumed=frozenset({"slice spacing"}))

    tamper(layout, "segments", setting("volume_ml", lambda values: [1.0] * len(values)))
    found = [row for row in findings(layout) if row["rule"] == "count-mismatch"]
    assert {column_of(row) for row in found} == {"volume_ml"}
