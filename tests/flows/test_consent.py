"""`--yes` and `--replace`: told before anything moves, asked where a person sits at the terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import segtools
from tests.flows.conftest import idcseg
from tests.flows.prefect_server import environment


@pytest.fixture(scope="module")
def livers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cohort = tmp_path_factory.mktemp("cohorts") / "livers.yaml"
    cohort.write_text("structures: [liver]\nsource: {idc: false}\n")
    return cohort


def answered(text: str, *arguments: object) -> tuple[int, str]:
    """Run `idcseg` with a terminal at stdin and stderr, and a person who types `text`."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        stdin=slave, stderr=slave, stdout=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    os.close(slave)
    os.write(master, text.encode())
    said = b""
    try:
        while chunk := os.read(master, 4096):
            said += chunk
    except OSError:  # Linux says so when the last writer has gone
        pass
    os.close(master)
    return process.wait(120), said.decode()


def test_a_large_download_is_asked_for(livers: Path, indexed: Path, tmp_path: Path) -> None:
    small = ("--set", "run.confirm_above_bytes=1000")
    command = ("run", livers, "-o", tmp_path / "d", "--index", indexed, "--direct", *small)
    ran = idcseg(*command)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith("error [download-not-confirmed]")
    assert "--yes" in ran.err
    code, said = answered("n\n", *command)
    assert code == 2
    assert "[y/N]" in said
    assert not (tmp_path / "d" / "dataset.json").exists()
    code, said = answered("y\n", *command)
    assert code in (0, 1, 3), said
    with segtools.open(tmp_path / "d") as dataset:
        count = dataset.series().num_rows
    assert count
    idcseg(*command[:3], tmp_path / "other", *command[4:], "--yes")
    with segtools.open(tmp_path / "other") as dataset:
        assert dataset.series().num_rows == count


def test_fetch_and_plan_say_it_too(livers: Path, indexed: Path, tmp_path: Path) -> None:
    small = ("--index", indexed, "--set", "run.confirm_above_bytes=1000")
    ran = idcseg("fetch", livers, "-o", tmp_path / "raw", *small)
    assert ran.code == 2
    assert "download-not-confirmed" in ran.err
    assert not (tmp_path / "raw").exists()
    assert "--yes" in idcseg("plan", livers, *small).out


def test_the_empty_cohort_file_is_not_all_of_idc_by_accident(tmp_path: Path) -> None:
    """The default limit holds for a file that selects everything there is."""
    pytest.importorskip("idc_index_data")
    cohort = tmp_path / "everything.yaml"
    cohort.write_text("")
    ran = idcseg("run", cohort, "-o", tmp_path / "d", "--direct")
    assert ran.code == 2
    assert "download-not-confirmed" in ran.err
    assert "TB" in ran.err


def test_another_cohort_into_a_dataset(livers: Path, indexed: Path, tmp_path: Path) -> None:
    where = ("-o", tmp_path / "d", "--index", indexed, "--direct")
    idcseg("run", livers, *where)
    with segtools.open(tmp_path / "d") as dataset:
        volumes = dataset.series("volume_count > 0").num_rows
    other = livers.with_name("one.yaml")
    other.write_text("patients: [PHANTOM-0004]\nsource: {idc: false}\n")
    ran = idcseg("run", other, *where)
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith("error [deletion-not-confirmed]")
    assert "--replace" in ran.err
    with segtools.open(tmp_path / "d") as dataset:
        assert dataset.series("volume_count > 0").num_rows == volumes
    assert idcseg("run", other, *where, "--replace").code in (0, 1, 3)
    with segtools.open(tmp_path / "d") as dataset:
        assert set(dataset.series("volume_count > 0")["patient_id"].to_pylist()) == {"PHANTOM-0004"}
