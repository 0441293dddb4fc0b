"""What makes a scheduled run work: each reason by itself, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import segtools
from segtools.dataset.home import FolderHome
from segtools.errors import DatasetError, EnvironmentProblem, RunError
from segtools.index import build_index
from segtools.phantom.archive import write_archive
from segtools.run import shards
from segtools.run.cohort import CohortRun, RunConfig
from segtools.run.executors.base import ExecutorOptions
from segtools.run.pipeline import PipelineOptions
from segtools.run.staleness import RunReason, Staleness, staleness
from segtools.select import BigQueryEngine, LocalEngine, Sources, parse_spec
from tests.select.bigquery_server import BigQueryServer, Refusal
from tests.select.conftest import PUBLIC, fill

TEXT = "structures: [liver]\n"


def cohort(
    dataset: Path, index: Path, text: str = TEXT, sources: Sources | None = None, **config: int
) -> CohortRun:
    spec = parse_spec(text)
    options = RunConfig(
        sources=sources or Sources((index,), idc=False),
        engine=LocalEngine(),
        pipeline=PipelineOptions(dataset.parent / "scratch"),
        executor=ExecutorOptions("serial", 1),
    )
    return CohortRun(spec, text, FolderHome(dataset), replace(options, **config))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive, its index, and the dataset of all its livers."""
    folder = tmp_path_factory.mktemp("world")
    write_archive(folder / "archive")
    build_index(folder / "archive", folder / "index")
    with cohort(folder / "dataset", folder / "index") as run:
        run.select()
        run.process(run.plan())
        run.merge()
        run.commit()
    return folder


@pytest.fixture
def dataset(world: Path, tmp_path: Path) -> Path:
    shutil.copytree(world / "dataset", tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def server() -> Iterator[BigQueryServer]:
    """BigQuery with IDC v25."""
    with BigQueryServer() as running:
        fill(running)
        yield running


def reason(run: CohortRun) -> RunReason | None:
    found = staleness(run)
    return found and found.reason


def test_nothing(world: Path, dataset: Path) -> None:
    before = sorted(dataset.rglob("*"))
    assert staleness(cohort(dataset, world / "index")) is None
    assert sorted(dataset.rglob("*")) == before


def test_no_dataset(world: Path, tmp_path: Path) -> None:
    assert reason(cohort(tmp_path / "new", world / "index")) is RunReason.NO_DATASET
    assert not (tmp_path / "new").exists()


def test_another_cohort(world: Path, dataset: Path) -> None:
    assert reason(cohort(dataset, world / "index", TEXT + "# more\n")) is RunReason.COHORT_CHANGED


def test_another_setting_that_matters(world: Path, dataset: Path) -> None:
    assert reason(cohort(dataset, world / "index", compression_level=3)) is RunReason.SETTINGS_CHANGED
    assert staleness(cohort(dataset, world / "index", batch_series=3)) is None


def test_an_interrupted_run(world: Path, dataset: Path) -> None:
    with cohort(dataset, world / "index", compression_level=3) as run:
        run.select()
        run.process(run.plan()[:1])
    assert reason(cohort(dataset, world / "index")) is RunReason.INTERRUPTED


def test_a_changed_index(world: Path, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "index", tmp_path / "index")
    path = tmp_path / "index" / "series_index.parquet"
    table = pq.read_table(path)
    with segtools.open(dataset) as opened:
        known = set(opened.series()["seg_series_uid"].to_pylist())
    keep = [uid not in known or uid != min(known) for uid in table["SeriesInstanceUID"].to_pylist()]
    pq.write_table(table.filter(keep), path)
    assert reason(cohort(dataset, tmp_path / "index")) is RunReason.INDEX_CHANGED


def test_a_broken_dataset(world: Path, dataset: Path) -> None:
    (dataset / "dataset.json").write_text("{}")
    with pytest.raises(DatasetError) as caught:
        staleness(cohort(dataset, world / "index"))
    assert caught.value.code == "dataset-invalid"


def test_an_idc_release(world: Path, dataset: Path) -> None:
    """A dataset of v24 has news once the installed index knows v25; one of v25, or of v26, has none."""
    pytest.importorskip("idc_index_data")
    text = TEXT + "idc_version: latest\n"
    manifest = json.loads((dataset / "dataset.json").read_bytes())
    run = cohort(dataset, world / "index", sources=Sources(idc=True))
    with run.config.engine.open(run.config.sources, "latest") as session:
        release = session.facts.idc_version
    assert release is not None
    seen = {}
    for version in (None, release - 1, release, release + 1):
        (dataset / "dataset.json").write_text(json.dumps(manifest | {"idc_version": version}))
        seen[version] = staleness(run)
    assert seen[release] is seen[release + 1] is None
    assert seen[release - 1] == Staleness(RunReason.NEW_RELEASE, release - 1, release)
    assert seen[None] == Staleness(RunReason.NEW_RELEASE, None, release)
    assert reason(cohort(dataset, world / "index", text, Sources(idc=True))) is RunReason.COHORT_CHANGED


def test_an_idc_release_on_bigquery(world: Path, dataset: Path, server: BigQueryServer) -> None:
    """Through the real client; a look costs no cohort query, and is repeated as the schedule does."""
    manifest = json.loads((dataset / "dataset.json").read_bytes())
    (dataset / "dataset.json").write_text(json.dumps(manifest | {"idc_version": 25}))

    def look() -> Staleness | None:
        run = cohort(dataset, world / "index", sources=Sources(idc=True))
        engine = BigQueryEngine("a-project", api_endpoint=server.url, timeout_s=20)
        run.config = replace(run.config, engine=engine)
        return staleness(run)

    assert look() is None
    fill(server, 26)
    assert look() is None  # the tables of a release come before it is named
    server.tables[f"{PUBLIC}.idc_current.version_metadata"] = pa.table({"idc_version": [24, 25, 26]})
    assert look() == Staleness(RunReason.NEW_RELEASE, 25, 26)
    asked = {job["labels"]["query"] for job in server.queries()}
    assert asked == {"versions", "probe"}
    server.faults = [Refusal(403, "accessDenied", "Access Denied")]
    with pytest.raises(EnvironmentProblem):
        look()


def test_a_shard_under_other_settings_is_refused(world: Path, dataset: Path) -> None:
    run = cohort(dataset, world / "index")
    with run.peek() as view:
        (name,) = shards.plan(view, list(_all(run)), 1, "run")
    with pytest.raises(RunError) as caught:
        shards.process(run, name, 1, 1, "0" * 16)
    assert caught.value.code == "shard-mismatch"
    assert not list(view.layout.ledger.glob("shard-*"))


def _all(run: CohortRun):
    from segtools.series import iter_selection

    selection = run.select()
    return iter_selection(selection.series, selection.objects)
