"""Datasets in a bucket: byte for byte those of a folder, whatever is cut short."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest

import segtools
from flows.s3_endpoint import serve_folder
from segtools.check import audit
from segtools.dataset import bucket_lock
from segtools.dataset.bucket_home import BucketHome
from segtools.dataset.replaced import GRACE
from segtools.errors import (
    DatasetError,
    EnvironmentProblem,
    MissingError,
    UsageError,
    WriteError,
)
from segtools.objectstore.bucket import Bucket, BucketOptions
from segtools.run import shards
from segtools.run.pipeline import PipelineOptions
from segtools.run.status import read_status
from tests.run.gate import KEY, Gate
from tests.run.whole import complete, content, make_place

obstore = pytest.importorskip("obstore")
KILLS = int(os.environ.get("IDCSEG_KILLS", "50"))


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "outputs").mkdir()
    with serve_folder(folder, KEY) as url, Gate(url, folder) as gate:
        yield gate


@pytest.fixture(autouse=True)
def _open(request):
    if "gate" in request.fixturenames:
        gate = request.getfixturevalue("gate")
        gate.open()
        gate.knows_conditions = True


@pytest.fixture(scope="module")
def options(gate, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "credentials"
    path.write_text(f"[outputs]\naws_access_key_id = {KEY[0]}\naws_secret_access_key = {KEY[1]}\n")
    return BucketOptions(endpoint=gate.url, profile="outputs", credentials_file=str(path), workers=4)


@pytest.fixture
def home(options, request):
    """An empty place in the bucket."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return BucketHome(f"s3://outputs/cohorts/{name}", options)


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, 4)


def stored(gate, home):
    """The dataset as it lies in the bucket."""
    return gate.folder / home.bucket.name / home.bucket.prefix


def puts(gate):
    return [path for method, path in gate.changes if method == "PUT"]


def status_of(home, tmp_path):
    (tmp_path / "look").mkdir(exist_ok=True)
    return read_status(home, lambda: nullcontext(tmp_path / "look"))


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_the_same_bytes_as_in_a_folder(place, gate, home, tmp_path, kind):
    complete(place.run(tmp_path / "folder"))
    complete(place.run(home, kind=kind))
    assert content(stored(gate, home)) == content(tmp_path / "folder")
    assert not list(stored(gate, home).glob("tables/.staging/**/*.parquet"))
    runs = {path.name for path in (stored(gate, home) / "runs").rglob("*") if path.is_file()}
    assert sum(name.endswith(".json") for name in runs) == 1  # no plan is left
    assert {name for name in runs if name.endswith(".jsonl")} == {"compacted.jsonl"}
    assert not [path for path in place.root.glob("scratch/*") if path.is_dir()]


def test_nothing_new_writes_nothing(place, gate, home):
    complete(place.run(home))
    gate.open()
    run = place.run(home)
    complete(run)
    assert run.processed == 0
    changed = {path.rpartition("/")[2] for path in puts(gate)}
    assert {name for name in changed if not name.endswith(".json")} <= {".lock"}
    assert "dataset.json" not in changed


def test_what_changed_waits_for_the_commit(place, gate, home, tmp_path):
    """Series 1 is new, 0 has other voxels, 2 is gone: the last commit stays readable until the next."""
    complete(place.run(home))
    before = content(stored(gate, home))
    place.series(0, seed=1)
    place.series(9)
    place.file(2).unlink()
    place.reindex()
    with place.run(home) as run:
        run.process(run.plan())
        now = content(stored(gate, home))
        assert {name: now.get(name) for name in before} == before
        assert sum("/1.2.3.0/" in name and name.endswith(".nii.gz") for name in now) == 2
        with segtools.open(home.name, home.bucket.options) as opened:
            assert set(audit(opened)["rule"].to_pylist()) == {"undeclared-file"}  # of the new series
    status = status_of(home, tmp_path)
    assert (status.state, status.staged_series, status.committed_series) == ("interrupted", 2, 4)
    continued = place.run(home)
    complete(continued)
    assert continued.processed == 0
    complete(place.run(tmp_path / "folder"))  # which never had series 2
    volumes = {name: digest for name, digest in content(stored(gate, home)).items() if "volumes/" in name}
    wanted = content(tmp_path / "folder")
    assert volumes == {name: digest for name, digest in wanted.items() if "volumes/" in name}


def test_a_write_that_stays_the_same_is_not_waiting(place, gate, home):
    complete(place.run(home))
    home.bucket.delete(["dataset.json", *home.bucket.list("tables/")])  # so that all is done again
    before = content(stored(gate, home))
    with place.run(home) as run:
        gate.open()
        run.process(run.plan())
    assert not [path for path in puts(gate) if path.endswith(".nii.gz")]
    assert {name for name in content(stored(gate, home)) if "volumes/" in name} == {
        name for name in before if "volumes/" in name
    }


@pytest.mark.parametrize("points", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_shut_at_every_change_in_turn(place, gate, options, tmp_path, points):
    """From one request on nothing gets through; the next run completes to the undisturbed bytes."""
    first = tmp_path / "first"
    complete(place.run(first))
    place.series(0, seed=1)
    place.series(9)
    place.reindex()

    def started(name):
        home = BucketHome(f"s3://outputs/shut-{points}/{name}", options)
        for path in content(first):
            home.bucket.put(path, first / path)
        gate.open()
        return home

    undisturbed = started("undisturbed")
    complete(place.run(undisturbed))
    total = len(gate.changes)
    expected = content(stored(gate, undisturbed))
    # Not the last one: the lock's removal, which may fail without a word.
    stride = 1 if KILLS > 50 and points > 2 else max(1, total // points)
    for number in range(1 + points % stride, total, stride):
        home = started(number)
        gate.shut_at = number
        with pytest.raises(EnvironmentProblem) as caught:
            complete(place.run(home))
        assert caught.value.code == "access-denied"
        gate.open()
        assert reads_or_says_so(home)
        complete(place.run(home))
        assert content(stored(gate, home)) == expected, number


def reads_or_says_so(home):
    try:
        with segtools.open(home.name, home.bucket.options) as opened:
            return set(audit(opened)["rule"].to_pylist()) <= {"undeclared-file"}
    except DatasetError as error:
        return error.code == "dataset-invalid"


def test_shards_share_nothing_but_the_bucket(place, gate, home, tmp_path):
    complete(place.run(tmp_path / "folder"))
    with place.run(home) as run:
        names = shards.plan(run.view, run.plan(), 2, "run")
        for name in names:
            there = place.run(
                BucketHome(home.name, home.bucket.options), pipeline=PipelineOptions(tmp_path / name)
            )
            assert shards.process(there, name, 1, run.job.run, run.job.settings_hash) == 2
            again = place.run(home, pipeline=PipelineOptions(tmp_path / name))
            assert shards.process(again, name, 2, run.job.run, run.job.settings_hash) == 0
        assert shards.recorded(run.view, "run") == 4
        shards.clear(run.claim)
        run.check()
        run.report()
        run.commit()
    assert content(stored(gate, home)) == content(tmp_path / "folder")
    assert not list((stored(gate, home) / "runs").glob("shards/*"))


@pytest.mark.parametrize("knows_conditions", [True, False])
def test_a_second_run_is_refused(place, gate, home, knows_conditions):
    gate.knows_conditions = knows_conditions
    with place.run(home) as run:
        with pytest.raises(DatasetError, match=f"pid {os.getpid()}") as caught, place.run(home):
            pass
        assert caught.value.code == "dataset-locked"
        assert home.holder()["pid"] == os.getpid()
        run.process(run.plan())
        run.commit()
    assert home.holder() is None
    assert not (stored(gate, home) / ".lock").exists()


@pytest.mark.parametrize("knows_conditions", [True, False])
def test_two_that_start_at_once(gate, home, knows_conditions, monkeypatch):
    """Both saw no lock: the other's comes before ours, or, where no condition is known, over it."""
    gate.knows_conditions = knows_conditions
    theirs = json.dumps({"host": "elsewhere", "pid": 1}).encode()
    create, pauses = Bucket.create, []

    def second(bucket, key, content):
        if knows_conditions:
            monkeypatch.setattr(Bucket, "create", create)
            bucket.put(key, theirs)
        return create(bucket, key, content)

    def pause(seconds):
        pauses.append(seconds)
        home.bucket.put(bucket_lock.KEY, theirs)

    monkeypatch.setattr(Bucket, "create", second)
    monkeypatch.setattr(bucket_lock.time, "sleep", pause)
    with pytest.raises(DatasetError, match="elsewhere"), home._locked(None):
        pass
    assert len(pauses) == (not knows_conditions)
    assert home.bucket.get_bytes(bucket_lock.KEY) == theirs


def test_the_lock_of_the_dead(gate, home):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    mine = bucket_lock.myself()
    for dead in ({"pid": child}, {"token": "of a container before this one"}):
        home.bucket.put(bucket_lock.KEY, json.dumps(mine | dead).encode())
        with home._locked(None):
            assert home.holder()["pid"] == os.getpid()
        assert home.holder() is None
    for text in (json.dumps(mine | {"host": "elsewhere"}), "no lock of ours"):
        home.bucket.put(bucket_lock.KEY, text.encode())
        with pytest.raises(DatasetError) as caught, home._locked(None):
            pass
        assert caught.value.code == "dataset-locked"


def test_a_foreign_prefix_is_refused(place, gate, home):
    home.bucket.put("somebody/elses.txt", b"1")
    with pytest.raises(DatasetError) as caught, place.run(home):
        pass
    assert caught.value.code == "output-not-ours"
    assert "'somebody'" in str(caught.value)
    assert [name for name in stored(gate, home).iterdir() if name.name != "somebody"] == []


def test_reading_from_the_bucket(place, gate, home, tmp_path):
    complete(place.run(home))
    complete(place.run(tmp_path / "folder"))
    with segtools.open(home.name, home.bucket.options) as there, segtools.open(tmp_path / "folder") as here:
        assert there.segments().equals(here.segments())
        row = here.segments("volume_path IS NOT NULL").to_pylist()[0]
        assert (there.mask(row) == here.mask(row)).all()
        assert home.name in repr(there)
        assert audit(there).num_rows == 0
        folder = there.root
    assert not folder.exists()
    home.bucket.delete([row["volume_path"]])
    with segtools.open(home.name, home.bucket.options) as there:
        assert "file-missing" in set(audit(there)["rule"].to_pylist())
        with pytest.raises(DatasetError, match="missing"):
            there.mask(row)


def test_a_table_replaced_meanwhile_is_told(place, gate, home):
    complete(place.run(home))
    with segtools.open(home.name, home.bucket.options) as opened:
        key = opened.manifest["tables"]["segments"]["files"][0]["path"]
        home.bucket.put(key, home.bucket.get_bytes(key) + b"more")
        with pytest.raises(DatasetError, match=r"dataset\.json says") as caught:
            opened.segments()
    assert caught.value.code == "dataset-invalid"
    with pytest.raises(DatasetError, match=r"dataset\.json says"):
        segtools.open(home.name, home.bucket.options)


def test_other_bytes_arrive(place, gate, home):
    gate.spoil = ".nii.gz"
    with pytest.raises(WriteError) as caught:
        complete(place.run(home))
    assert caught.value.code == "write-failed"
    assert home.bucket.options.verify_md5
    gate.open()
    complete(place.run(home))
    with segtools.open(home.name, home.bucket.options) as opened:
        assert audit(opened).num_rows == 0


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://UPPER/x", "s3://b/../x", "s3://bucket/a//b", "s3://bucket/./x", "s3:"]
)
def test_no_such_place(url):
    with pytest.raises(UsageError) as caught:
        Bucket(url)
    assert caught.value.code == "unsafe-url"


def test_a_path_that_lost_a_slash():
    assert Bucket("s3:/outputs/cohorts/").url == "s3://outputs/cohorts"


def test_what_the_endpoint_refuses(gate, options, tmp_path):
    with pytest.raises(MissingError, match="s3://outputs/none holds no"):
        segtools.open("s3://outputs/none", options)
    with pytest.raises(EnvironmentProblem) as caught:
        Bucket("s3://no-such-bucket/x", options).put("a", b"1")
    assert caught.value.code == "bucket-missing"
    with pytest.raises(EnvironmentProblem) as caught:
        Bucket("s3://no-such-bucket/x", options).list()
    assert caught.value.code == "bucket-missing"
    path = tmp_path / "wrong"
    path.write_text("[default]\naws_access_key_id = somebody\naws_secret_access_key = else\n")
    wrong = replace(options, profile=None, credentials_file=str(path))
    with pytest.raises(EnvironmentProblem) as caught:
        Bucket("s3://outputs/x", wrong).put("a", b"1")
    assert caught.value.code == "access-denied"
    with pytest.raises(EnvironmentProblem, match="gives no credentials for the profile 'nobody'"):
        Bucket("s3://outputs/x", replace(wrong, profile="nobody")).list()


def test_nobody_gave_credentials():
    """As obstore says it on a machine without a role, which no test should ask for."""

    def ask():
        message = "Error performing PUT http://169.254.169.254/latest/api/token in 1s"
        raise obstore.exceptions.GenericError(message)

    with pytest.raises(EnvironmentProblem, match="AWS_ACCESS_KEY_ID") as caught:
        Bucket("s3://outputs/x")._asked(ask)
    assert caught.value.code == "access-denied"


def rows_and_masks(dataset):
    rows = dataset.segments("volume_path IS NOT NULL").to_pylist()
    return rows, [int(dataset.mask(row).sum()) for row in rows]


@pytest.mark.slow
def test_handles_read_their_own_state_to_the_end(place, gate, home):
    """Opened before the commits, and asked for nothing until after them."""
    complete(place.run(home, grace=GRACE))
    with segtools.open(home.name, home.bucket.options) as silent:
        with segtools.open(home.name, home.bucket.options) as asked:
            rows, counts = rows_and_masks(asked)
        for seed in (1, 2):
            for number in (0, 1, 2):
                place.series(number, seed=seed)
            place.reindex()
            complete(place.run(home, grace=GRACE))
        assert rows_and_masks(silent) == (rows, counts)
    with segtools.open(home.name, home.bucket.options) as new:
        assert audit(new).to_pylist() == []
        assert rows_and_masks(new)[0] != rows
    assert list(stored(gate, home).glob("tables/.replaced/*/*.parquet"))
    complete(place.run(home))  # nothing new, and no grace
    assert not list(stored(gate, home).glob("tables/.replaced/*/*.parquet"))
    complete(place.run(place.root / "fresh"))
    assert content(stored(gate, home)) == content(place.root / "fresh")


def test_opens_during_commits_are_never_refused(place, gate, home):
    complete(place.run(home, grace=GRACE))
    stop, problems, opens = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                with segtools.open(home.name, home.bucket.options) as dataset:
                    rows, counts = rows_and_masks(dataset)
                opens.append([row["voxel_count"] for row in rows] == counts)
            except Exception as error:  # noqa: BLE001 - told by the main thread
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for seed in (1, 2, 3):
            for number in (0, 1, 2):
                place.series(number, seed=seed)
            place.reindex()
            complete(place.run(home, grace=GRACE))
    finally:
        stop.set()
        reader.join()
    assert problems == []
    assert len(opens) > 2
    assert all(opens)


@pytest.mark.parametrize("damage", ["lose", "flip", "cut"])
@pytest.mark.parametrize("what", ["tables/segments/*.parquet", "volumes/**/*.nii.gz", "volumes/**/*.json"])
def test_what_is_damaged_is_made_again(place, gate, home, damage, what):
    complete(place.run(home))
    before = content(stored(gate, home))
    path = sorted(stored(gate, home).glob(what))[0]
    key = path.relative_to(stored(gate, home)).as_posix()
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    if damage == "lose":
        home.bucket.delete([key])
    else:
        time.sleep(1.1)  # S3 states times in whole seconds
        home.bucket.put(key, bytes(found if damage == "flip" else found[:-5]))
    run = place.run(home)
    complete(run)
    assert content(stored(gate, home)) == before
    assert run.processed == (4 if what.startswith("tables") else 1)


def test_a_newer_format_is_refused(place, gate, home):
    home.bucket.put("dataset.json", b'{"format_version": 99}')
    with pytest.raises(DatasetError) as caught:
        complete(place.run(home))
    assert caught.value.code == "dataset-incompatible"
    assert home.bucket.get_bytes("dataset.json") == b'{"format_version": 99}'
    assert home.holder() is None
