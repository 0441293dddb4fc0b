"""One dataset for many threads and processes: everybody gets the rows and masks that they asked for."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import segtools
from segtools.dataset.image_cache import ImageCache
from segtools.errors import DatasetError, MissingError
from segtools.nifti.writer import write_volume
from tests.dataset.build import PLAIN, build
from tests.dataset.workers import answers, answers_of
from tests.factories.dataset import make_volume

THREADS = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build(tmp_path_factory.mktemp("shared") / "abdomen").root


@pytest.fixture
def dataset(root):
    with segtools.open(root) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(root):
    """What each segment answers when nobody else asks."""
    with segtools.open(root) as alone:
        return answers(alone)


def _asks(dataset, expected, name, kind):
    """One call; whether it gave what is right."""
    row, voxels, layers = expected[name]
    if kind == "rows":
        columns = ["segment_id", "structure", "voxel_count"]
        got = dataset.segments(f"segment_id = '{name}'", columns).to_pylist()
        return got == [{column: row[column] for column in columns}]
    if kind == "sql":
        got = dataset.sql("SELECT $id AS id, count(*) AS n FROM segments", {"id": name})
        return got.to_pylist() == [{"id": name, "n": len(expected)}]
    if kind == "volume" and layers is not None:
        return [int(layer.sum()) for layer in dataset.volume(row).layers] == layers
    if voxels is None:
        with pytest.raises(MissingError, match=name):
            dataset.mask(name)
        return True
    return int(dataset.mask(name if kind == "mask by id" else row).sum()) == voxels


@pytest.mark.parametrize("calls", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_threads_never_get_the_answer_of_another(dataset, expected, calls):
    names = sorted(expected)
    started = threading.Barrier(THREADS)

    def work(thread):
        choice = random.Random(thread)
        started.wait()  # the first question, which opens the database, comes from all at once
        kinds = choice.choices(["rows", "sql", "mask by id", "mask", "volume"], [3, 3, 3, 10, 1], k=calls)
        return sum(not _asks(dataset, expected, choice.choice(names), kind) for kind in kinds)

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == [0] * THREADS


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes_take_a_dataset_that_was_used(dataset, expected, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    assert dataset.segments().num_rows == len(expected)  # its database runs threads of its own
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(answers_of, [dataset] * 4) == [expected] * 4
    assert answers(dataset) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_uses_what_it_inherited_and_ends(dataset, expected):
    """As a forked DataLoader worker does: nothing is pickled. It ends by itself, with its exit handlers."""
    assert dataset.mask(next(n for n, (_, s, _) in expected.items() if s)).any()
    process = multiprocessing.get_context("fork").Process(target=_inherits, args=(dataset, expected))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def _inherits(dataset, expected):
    assert answers(dataset) == expected
    with ThreadPoolExecutor(4) as pool:
        assert all(got == expected for got in pool.map(answers, [dataset] * 4))
    dataset.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_interpreter_ends_at_once(root):
    """Its parent's DuckDB has threads that the child lacks; destroying it would wait for them for ever."""
    code = (
        "import os, sys, segtools\n"
        f"dataset = segtools.open({str(root)!r})\n"
        "rows = dataset.segments().num_rows\n"
        "if child := os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "assert dataset.segments().num_rows == rows\n"
    )
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=exec, args=(code, {}))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_a_pickle_is_a_path_and_shows_the_same_state(root, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(root.parent)
    with segtools.open(root.name) as relative:
        packed = pickle.dumps(relative)
    assert len(packed) < 10_000
    monkeypatch.chdir(tmp_path)
    with pickle.loads(packed) as copy:
        assert copy.root == root
        assert answers(copy) == expected


def test_a_pickle_of_what_is_gone_says_so(tmp_path):
    layout = build(tmp_path / "d")
    with segtools.open(layout.root) as opened:
        packed = pickle.dumps(opened)
    layout.root.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError) as caught:
        pickle.loads(packed)
    assert caught.value.code == "dataset-invalid"


def test_closing_lets_running_questions_end(dataset, expected):
    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(answers, dataset) for _ in range(THREADS)]
        for _ in range(20):
            dataset.close()
        assert all(future.result() == expected for future in running)


def test_a_volume_is_the_callers_own(dataset):
    """Labels are kept in memory for the next mask; what one caller writes is not what another reads."""
    first = dataset.volume(PLAIN.seg_series_uid)
    before = first.array.copy()
    first.array[:] = 99
    np.testing.assert_array_equal(dataset.volume(PLAIN.seg_series_uid).array, before)
    row = dataset.segments(f"seg_series_uid = '{PLAIN.seg_series_uid}'").to_pylist()[0]
    dataset.mask(row)[:] = False
    assert dataset.mask(row).any()


def _spied(monkeypatch):
    """Paths of the files that are read."""
    from segtools.nifti import reader

    read, original = [], reader.read
    monkeypatch.setattr(reader, "read", lambda path: read.append(path.name) or original(path))
    return read


def test_further_segments_of_a_volume_cost_no_second_reading(root, monkeypatch):
    read = _spied(monkeypatch)
    with segtools.open(root) as dataset:
        for row in dataset.segments(f"seg_series_uid = '{PLAIN.seg_series_uid}'").to_pylist():
            dataset.mask(row)
        assert len(read) == 1
    with segtools.open(root, cache_bytes=0) as dataset:
        rows = dataset.segments(f"seg_series_uid = '{PLAIN.seg_series_uid}'").to_pylist()
        for row in rows:
            dataset.mask(row)
    assert len(read) == 1 + len(rows)


def test_the_cache_is_bounded_oldest_out_first(root, monkeypatch):
    read = _spied(monkeypatch)
    files = sorted(root.rglob("*_dseg.nii.gz"))[:3]
    size = ImageCache(1 << 20).read(files[0]).array.nbytes
    cache = ImageCache(2 * size)
    read.clear()
    for number in (0, 1, 0, 2, 0, 1):  # 2 puts out 1, which was asked for longest ago
        cache.read(files[number])
    assert read == [files[number].name for number in (0, 1, 2, 1)]


def test_a_replaced_file_is_read_anew(tmp_path):
    layout = build(tmp_path / "d")
    with segtools.open(layout.root) as dataset:
        row = dataset.segments(f"seg_series_uid = '{PLAIN.seg_series_uid}'").to_pylist()[0]
        assert dataset.mask(row).any()
        path = layout.absolute(row["volume_path"])
        new = path.with_name("new.nii.gz")
        grid = make_volume(PLAIN).grid
        write_volume(new, np.zeros(grid.shape, np.uint8), grid.affine_ras)
        new.replace(path)
        assert not dataset.mask(row).any()


def test_python_switches_threads_often_enough_to_matter():
    """The tests above would be weak if one thread ran to its end before the next began."""
    assert sys.getswitchinterval() < 0.1
