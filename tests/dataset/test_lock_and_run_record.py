"""Who holds a dataset, and what a run was."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta, timezone

import pytest

from segtools.dataset.lock import locked
from segtools.dataset.run_record import settings_hash, utc_stamp, versions, write_run
from segtools.errors import DatasetError
from segtools.files import TEMPORARY_PREFIX, fsync_folder, sweep, write_bytes


def test_a_held_dataset_names_its_holder(layout):
    with locked(layout):
        with pytest.raises(DatasetError) as caught, locked(layout):
            pass
        assert caught.value.code == "dataset-locked"
        assert f"pid {os.getpid()}" in str(caught.value)
        assert socket.gethostname() in str(caught.value)
    assert not layout.lock.exists()
    with locked(layout):
        pass


def test_the_lock_goes_with_an_error(layout):
    with pytest.raises(ZeroDivisionError), locked(layout):
        raise ZeroDivisionError
    assert not layout.lock.exists()


def hold_and_die(layout):
    child = os.fork()
    if child == 0:
        holding = locked(layout)
        holding.__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_a_dead_holder_on_this_machine_does_not_block(layout):
    dead = hold_and_die(layout)
    assert json.loads(layout.lock.read_text())["pid"] == dead
    with locked(layout):
        assert json.loads(layout.lock.read_text())["pid"] == os.getpid()


def test_a_holder_on_another_machine_blocks(layout):
    layout.lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "2026-01-01"}))
    with pytest.raises(DatasetError, match="elsewhere") as caught, locked(layout):
        pass
    assert "remove .lock" in str(caught.value)
    assert layout.lock.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_lock_file_without_a_name_does_not_block(layout, text):
    layout.lock.write_text(text)
    with locked(layout):
        pass


def test_settings_hash_depends_on_values_only():
    assert settings_hash({"a": 1, "b": [2]}) == settings_hash({"b": [2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    assert len(settings_hash({})) == 16


def test_stamps_sort_by_time_and_are_utc():
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1)))
    assert utc_stamp(moment) == "20260201T003000.000000Z"
    assert utc_stamp(moment) < utc_stamp(moment + timedelta(microseconds=1))


def test_a_run_is_recorded(layout):
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    path = write_run(
        layout,
        started=started,
        finished=started + timedelta(seconds=90),
        settings={"grid": "seg"},
        outcome={"ok": 3},
    )
    record = json.loads(path.read_text())
    assert path == layout.run(utc_stamp(started))
    assert record["elapsed_s"] == 90
    assert record["host"] == socket.gethostname()
    assert record["settings_hash"] == settings_hash({"grid": "seg"})
    assert record["outcome"] == {"ok": 3}
    assert record["versions"] == versions()
    assert {"segtools", "python", "pydicom", "pyarrow"} <= set(versions())


def test_temporary_files_are_swept(tmp_path):
    write_bytes(tmp_path / "kept", b"x")
    (tmp_path / f"{TEMPORARY_PREFIX}stray").touch()
    fsync_folder(tmp_path)
    assert sweep(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
