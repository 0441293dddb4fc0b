"""The mirror against a real S3 endpoint on loopback, s5cmd doing the transfer."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.s3_endpoint import serve_folder
from segtools.errors import EnvironmentProblem, SelectError
from segtools.objectstore.s5cmd import FetchOptions
from segtools.select import (
    Sources,
    mirror,
    mirror_indexes,
    parse_spec,
    select,
)
from segtools.select.engines.mirror import find
from tests.factories.faulty_s3 import FaultyS3
from tests.select.test_local import idc_index
from tests.select.world import segmentations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("s3")
    folder = root / "idc-open-metadata" / "bigquery_export" / "idc_v25" / "segmentations"
    folder.mkdir(parents=True)
    table = segmentations()
    pq.write_table(table.slice(0, 4), folder / "000000000000.parquet", compression="zstd")
    pq.write_table(table.slice(4), folder / "000000000001.parquet", compression="zstd")
    index = root / "idc-index-data-artifacts" / "25.0.5" / "release_artifacts"
    index.mkdir(parents=True)
    pq.write_table(
        pa.table({"SeriesInstanceUID": ["9.1"], "SliceThickness": [2.5]}), index / "ct_index.parquet"
    )
    pq.write_table(
        pa.table({"SeriesInstanceUID": ["9.5"], "DiffusionBValue": [[0.0, 800.0]]}),
        index / "mr_index.parquet",
    )
    (index / "seg_index.parquet").write_bytes(b"not wanted")
    bad = root / "idc-index-data-artifacts" / "24.0.0" / "release_artifacts"
    bad.mkdir(parents=True)
    pq.write_table(pa.table({"uid": ["9.1"]}), bad / "ct_index.parquet")
    broken = folder.parents[1] / "idc_v24" / "segmentations"
    broken.mkdir(parents=True)
    (broken / "000.parquet").write_bytes(b"PAR1 not really")
    return root


@pytest.fixture(scope="module")
def endpoint(bucket: Path) -> Iterator[str]:
    with serve_folder(bucket) as url:
        yield url


def test_copies_whole_and_once(endpoint: str, tmp_path: Path) -> None:
    folder = mirror(tmp_path, 25, FetchOptions(endpoint=endpoint))
    assert folder == tmp_path / "idc_v25" / "segmentations"
    files = find(tmp_path, 25)
    assert files is not None
    assert sum(pq.read_metadata(file).num_rows for file in files) == segmentations().num_rows
    manifest = json.loads((folder / "mirror.json").read_text())
    assert [entry["rows"] for entry in manifest["files"]] == [4, segmentations().num_rows - 4]

    nowhere = FetchOptions(endpoint="http://127.0.0.1:1", retries=0)
    assert mirror(tmp_path, 25, nowhere) == folder  # a whole mirror asks nothing
    assert [path.name for path in tmp_path.iterdir()] == ["idc_v25"]


def test_goes_on_where_it_stopped(endpoint: str, bucket: Path, tmp_path: Path) -> None:
    source = bucket / "idc-open-metadata" / "bigquery_export" / "idc_v25" / "segmentations"
    partial = tmp_path / ".tmp-idc_v25"
    partial.mkdir()
    shutil.copy(source / "000000000000.parquet", partial)
    (partial / "000000000001.parquet").write_bytes(b"half")
    (partial / "stray.part").write_bytes(b"x")
    with pytest.raises(SelectError, match="half downloaded"):
        find(tmp_path, 25)
    before = (partial / "000000000000.parquet").stat().st_mtime_ns
    folder = mirror(tmp_path, 25, FetchOptions(endpoint=endpoint))
    assert (folder / "000000000000.parquet").stat().st_mtime_ns == before
    assert not (folder / "stray.part").exists()
    assert find(tmp_path, 25) is not None


def test_damage_is_noticed_and_repaired(endpoint: str, tmp_path: Path) -> None:
    folder = mirror(tmp_path, 25, FetchOptions(endpoint=endpoint))
    (folder / "000000000001.parquet").write_bytes(b"short")
    with pytest.raises(SelectError, match="damaged") as caught:
        find(tmp_path, 25)
    assert caught.value.code == "table-invalid"
    mirror(tmp_path, 25, FetchOptions(endpoint=endpoint))
    assert find(tmp_path, 25) is not None


def test_unknown_release_names_those_there_are(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(SelectError) as caught:
        mirror(tmp_path, 99, FetchOptions(endpoint=endpoint))
    assert caught.value.code == "version-unknown"
    assert "v24 to v25" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert find(tmp_path, 99) is None


def test_no_endpoint(tmp_path: Path) -> None:
    nowhere = FetchOptions(endpoint="http://127.0.0.1:1", retries=0)
    with pytest.raises(EnvironmentProblem) as caught:
        mirror(tmp_path, 25, nowhere)
    assert (caught.value.code, caught.value.exit_code) == ("network-unavailable", 4)


def test_a_stalled_export_ends(tmp_path: Path) -> None:
    """The mirror had an s5cmd driver of its own, without a deadline."""
    key = "idc-open-metadata/bigquery_export/idc_v25/segmentations/000.parquet"
    with FaultyS3({key: b"PAR1" * 50_000}) as s3:
        s3.faults[key] = ["stall"] * 9
        options = FetchOptions(endpoint=s3.url, stall_timeout_s=0.5, attempts=1, retries=0)
        with pytest.raises(EnvironmentProblem) as caught:
            mirror(tmp_path, 25, options)
    assert (caught.value.code, caught.value.exit_code) == ("transfer-stalled", 4)


def test_no_parquet(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(SelectError) as caught:
        mirror(tmp_path, 24, FetchOptions(endpoint=endpoint))
    assert caught.value.code == "table-invalid"


def test_indexes_of_images_answer_filters(endpoint: str, tmp_path: Path) -> None:
    mirror(tmp_path, 25, FetchOptions(endpoint=endpoint))
    idc = idc_index(tmp_path / "idc")
    sources = Sources(mirror=tmp_path, idc_index=idc)
    spec = parse_spec("images: {slice_thickness_mm: {max: 3}}")
    with pytest.raises(SelectError, match="idcseg mirror") as caught:
        select(spec, sources)
    assert caught.value.code == "source-missing"
    by_modality = select(parse_spec("images: {modality: CT}"), sources)
    assert by_modality.series["seg_series_uid"].to_pylist() == ["1.1"]

    files = mirror_indexes(tmp_path, 25, "25.0.5", FetchOptions(endpoint=endpoint))
    assert [path.name for path in files] == ["ct_index.parquet", "mr_index.parquet"]
    assert select(spec, sources).series["seg_series_uid"].to_pylist() == ["1.1"]
    assert find(tmp_path, 25) is not None
    with pytest.raises(SelectError) as caught:
        mirror_indexes(tmp_path, 24, "24.0.0", FetchOptions(endpoint=endpoint))
    assert caught.value.code == "table-invalid"
    with pytest.raises(SelectError) as caught:
        mirror_indexes(tmp_path, 23, "23.0.0", FetchOptions(endpoint=endpoint))
    assert caught.value.code == "version-unknown"
