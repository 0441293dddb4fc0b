"""Killed at any step, a commit leaves the old dataset or the new one, and the next run completes it."""

from __future__ import annotations

import json
import os
import shutil

import pytest

import segtools
from segtools.dataset import transaction
from segtools.dataset.layout import Layout
from segtools.dataset.stage import known_series
from segtools.errors import DatasetError
from tests.factories.dataset import commit, make_series, tree, write_part

KILLED = 9
STEPS = ("replace", "unlink", "rmdir")
"""The calls that change names: a kill between two of them leaves the same names as one before them."""
OLD = [make_series(number) for number in (1, 2)]
NEW = [make_series(2, crdc_series_uuid="uuid-2b"), make_series(3)]


def run(layout):
    """The second run on the folder: series 1 is gone, 2 has changed, 3 is new."""
    transaction.prepare(layout)
    known = known_series(layout, json.loads(layout.manifest.read_bytes()))
    todo = [
        series for series in NEW if known.get(series.seg_series_uid, (None,))[0] != series.crdc_series_uuid
    ]
    if todo:
        write_part(layout, todo, "second", seed=3, layers=2)
    commit(layout, NEW, idc_version=25)


def killed_at(step, action):
    """Do `action` in a child that dies before its `step`-th file-system call; False if it ended first."""
    child = os.fork()
    if child == 0:
        count = 0

        def dying(call):
            def wrapper(*args, **kwargs):
                nonlocal count
                count += 1
                if count > step:
                    os._exit(KILLED)
                return call(*args, **kwargs)

            return wrapper

        for name in STEPS:
            setattr(os, name, dying(getattr(os, name)))
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def build(root):
    layout = Layout(root / "abdomen")
    transaction.prepare(layout)
    write_part(layout, OLD, "first")
    commit(layout, OLD)
    return layout


def reads_as(layout, manifest):
    """The dataset reads as its manifest says, or says itself that a commit was cut short."""
    try:
        with segtools.open(layout.root) as dataset:
            return dataset.segments().num_rows == json.loads(manifest)["tables"]["segments"]["rows"]
    except DatasetError as error:
        return error.code == "dataset-invalid"


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_old_or_new_at_every_step(tmp_path, stride):
    goal = build(tmp_path)
    old_manifest = goal.manifest.read_bytes()
    shutil.copytree(goal.root, tmp_path / "old")
    run(goal)
    new_manifest, new_tree = goal.manifest.read_bytes(), tree(goal)
    assert new_manifest != old_manifest

    step, seen = 0, set()
    while True:
        layout = Layout(tmp_path / "killed" / "abdomen")
        shutil.rmtree(layout.root, ignore_errors=True)
        shutil.copytree(tmp_path / "old", layout.root)
        was_killed = killed_at(step, lambda layout=layout: run(layout))
        manifest = layout.manifest.read_bytes()
        assert manifest in (old_manifest, new_manifest)
        seen.add(manifest)
        assert reads_as(layout, manifest)
        run(layout)
        assert tree(layout) == new_tree
        if not was_killed:
            break
        step += stride
    assert step > 20
    assert seen == {old_manifest, new_manifest}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_is_an_error_and_the_next_run_completes(tmp_path, monkeypatch, call):
    layout = build(tmp_path)
    before = layout.manifest.read_bytes()
    real, count = getattr(os, call), 0

    def failing(*args):
        nonlocal count
        count += 1
        if count == 12:
            raise OSError(5, "Input/output error")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(OSError, match="Input/output") as caught:
            run(layout)
    assert caught.value.code == "write-failed"
    assert layout.manifest.read_bytes() == before
    run(layout)
    goal = build(tmp_path / "goal")
    run(goal)
    assert tree(layout) == tree(goal)
