"""Datasets on s3://, as people run them: command line, kills, shards on a work pool."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.s3_endpoint import serve_folder
from tests.flows.conftest import Ran, idcseg
from tests.flows.prefect_server import PrefectServer, environment
from tests.run.gate import KEY
from tests.run.whole import Place, content, kill, make_place

pytest.importorskip("obstore")

COHORT = "collections: [tiny]\nsource: {idc: false}\n"


@dataclass(frozen=True)
class Output:
    """A bucket `out` on loopback, and who may write to it."""

    folder: Path
    url: str

    @property
    def environment(self) -> dict[str, str]:
        keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), KEY, strict=True))
        return keys | {"IDCSEG_WRITE__ENDPOINT": self.url}

    def idcseg(self, *arguments: object) -> Ran:
        return idcseg(*arguments, **self.environment)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Output]:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "out").mkdir()
    with serve_folder(folder, KEY) as url:
        yield Output(folder / "out", url)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An archive with one broken file, a cohort file, and the dataset `plain` of it in a folder."""
    place = make_place(tmp_path_factory.mktemp("archive"), 4)
    (place.root / "tiny.yaml").write_text(COHORT)
    assert idcseg(*_run(place, place.root / "plain")).code == 3
    return place


def _run(place: Place, dataset: object) -> tuple[object, ...]:
    settings = ("run.kind=serial", "run.batch_series=2", f"run.scratch={place.root / 'scratch'}")
    return (
        *("run", place.root / "tiny.yaml", "-o", dataset, "--index", place.index, "--direct"),
        *(part for one in settings for part in ("--set", one)),
    )


def test_commands(place: Place, output: Output) -> None:
    ran = output.idcseg(*_run(place, "s3://out/tiny/"))
    assert ran.code == 3, ran.err
    assert "s3://out/tiny/report/report.html" in ran.out
    assert content(output.folder / "tiny") == content(place.root / "plain")
    status = output.idcseg("status", "s3://out/tiny", "--json")
    assert json.loads(status.out)["failures"] == {"truncated": 1}
    shown = output.idcseg("show", "s3://out/tiny", "--where", "voxel_count > 0", "--json")
    assert json.loads(shown.out)
    checked = output.idcseg("check", "s3://out/tiny")
    assert (checked.code, checked.out) == (0, ""), checked.err
    assert output.idcseg("report", "s3://out/tiny").code == 0
    again = output.idcseg("retry", "s3://out/tiny", "--direct", "--index", place.index)
    assert again.code == 3, again.err
    assert "1 to do" in again.err


@pytest.mark.parametrize(
    ("where", "change", "code"),
    [
        ("s3://out/nothing", {}, "not-found"),
        ("s3://none/nothing", {}, "bucket-missing"),
        ("s3://out/../x", {}, "unsafe-url"),
        ("gs://out/x", {}, "unsafe-url"),
        ("s3://out/x", {"AWS_SECRET_ACCESS_KEY": "wrong_secret"}, "access-denied"),
    ],
)
def test_mistakes(output: Output, where: str, change: dict[str, str], code: str) -> None:
    ran = idcseg("show", where, **output.environment | change)
    assert ran.code in (2, 4)
    assert f"[{code}]" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_killed_while_it_writes(place: Place, output: Output) -> None:
    """SIGKILL at random times, from the start of the first request on."""
    dice = random.Random(5)
    url, folder = "s3://out/killed", output.folder / "killed"
    command = [sys.executable, "-m", "flows.cli", *map(str, _run(place, url))]
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(command, env=environment(**output.environment), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (folder / ".lock").exists():
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 1.5))
        kills += process.poll() is None
        kill(process.pid)
        process.wait()
    assert kills
    ran = output.idcseg(*_run(place, url))
    assert ran.code == 3, ran.err
    assert content(folder) == content(place.root / "plain")


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.xdist_group("prefect-server")
def test_shards_of_a_work_pool(
    place: Place, output: Output, prefect_server: PrefectServer, tmp_path: Path
) -> None:
    """The shards' processes know of the bucket by the run's settings alone."""
    keys = tmp_path / "credentials"
    keys.write_text(f"[default]\naws_access_key_id={KEY[0]}\naws_secret_access_key={KEY[1]}\n")
    prefect_server.start_worker("bucket-shards")
    settings = (
        *("run.shards=2", "run.shard_work_pool=bucket-shards", f"write.endpoint={output.url}"),
        f"write.credentials_file={keys}",
    )
    arguments = [part for part in _run(place, "s3://out/sharded") if part != "--direct"]
    ran = idcseg(
        *arguments, *(part for one in settings for part in ("--set", one)), **prefect_server.environment
    )
    assert ran.code == 3, ran.err
    assert content(output.folder / "sharded") == content(place.root / "plain")
    assert not list((output.folder / "sharded" / "runs" / "shards").glob("*"))
