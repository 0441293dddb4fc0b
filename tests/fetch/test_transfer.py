"""fetch_batch against an endpoint that misbehaves, with the real s5cmd."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from segtools.errors import EnvironmentProblem, FetchError, Transient
from segtools.fetch import transfer as transfer_module
from segtools.fetch.transfer import fetch_batch, sweep_strays
from segtools.objectstore.s5cmd import FetchOptions
from segtools.run.inspect import inspect_dicom
from segtools.series import RemoteObject
from tests.factories.case import masks
from tests.factories.seg import SegFactory


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("is_listed", [False, True])
def test_every_byte_arrives_and_is_hashed(s3, options, select, tmp_path, is_listed):
    series = [select(name, is_listed=is_listed) for name in ("two", "one", "large")]
    fetched = fetch_batch(series, tmp_path, options)
    assert [one.series for one in fetched] == series
    assert [one.error for one in fetched] == [None] * 3
    assert [path.read_bytes() for path in fetched[0].files] == [b"B" * 700, b"C" * 800]
    assert fetched[0].md5s == tuple(hashlib.md5(path.read_bytes()).hexdigest() for path in fetched[0].files)
    assert [one.attempts for one in fetched] == [1, 1, 1]
    assert len(_files(tmp_path)) == 4


def test_a_listing_of_many_pages_is_whole(s3, options, select, tmp_path):
    s3.objects |= {f"bucket/many/{n:03d}.dcm": bytes([n]) * (n + 1) for n in range(25)}
    s3.page_size = 10
    (fetched,) = fetch_batch([select("many", is_listed=True)], tmp_path, options)
    assert [path.stat().st_size for path in fetched.files] == list(range(1, 26))


def test_a_listing_that_stalls_half_way_is_not_taken_for_whole(s3, options, select, tmp_path):
    s3.objects |= {f"bucket/many/{n:03d}.dcm": bytes([n]) for n in range(25)}
    s3.page_size = 10
    first_page = select("many", is_listed=True, instance_count=10, size_bytes=10)
    s3.faults["bucket?list"] = ["ok", "stall"] * 9
    quick = replace(options, stall_timeout_s=0.5, attempts=2)
    assert fetch_batch([first_page], tmp_path, quick)[0].error.code == "transfer-stalled"
    s3.faults["bucket?list"] = ["ok", "stall"]
    assert len(fetch_batch([select("many", is_listed=True)], tmp_path, quick)[0].files) == 25


@pytest.mark.parametrize(
    ("faults", "attempts"),
    [
        (["503"], 1),  # healed inside s5cmd
        (["503"] * 3, 2),  # healed by us
        (["429"] * 2, 2),
        (["500"] * 2, 2),
        (["reset"] * 3, 2),
        (["truncate"] * 3, 2),
        (["corrupt"], 2),  # s5cmd says success
    ],
)
def test_what_heals_is_retried(s3, options, select, tmp_path, faults, attempts):
    s3.faults["bucket/one/a.dcm"] = list(faults)
    one, two = fetch_batch([select("one"), select("two")], tmp_path, options)
    assert one.error is None
    assert one.files[0].read_bytes() == b"A" * 5000
    assert 1 <= one.attempts <= attempts
    assert two.attempts == 1
    assert s3.gets("bucket/two/b.dcm") == 1  # only what failed is fetched again


@pytest.mark.parametrize(
    ("fault", "code", "is_transient"),
    [
        ("503", "throttled", True),
        ("429", "throttled", True),
        ("500", "transfer-failed", True),
        ("truncate", "transfer-failed", True),
        ("reset", "transfer-failed", True),
        ("corrupt", "checksum-mismatch", True),
        ("403", "access-denied", False),
        ("404", "object-missing", False),  # vanished between list and get
    ],
)
@pytest.mark.parametrize("is_listed", [False, True])
def test_what_stays_broken_costs_its_own_series(
    s3, options, select, tmp_path, fault, code, is_transient, is_listed
):
    s3.faults["bucket/two/c.dcm"] = [fault] * 100
    once = replace(options, retries=0)
    one, two = fetch_batch([select("one"), select("two", is_listed=is_listed)], tmp_path, once)
    assert one.error is None
    assert two.error.code == code
    assert isinstance(two.error, Transient) == is_transient
    assert two.error.attrs["seg_series_uid"] == "1.2.3.two"
    assert two.files == two.md5s == ()
    assert _files(tmp_path) == list(one.files)  # no half series, no stray
    assert two.attempts == (1 if not is_transient else 2 if fault == "corrupt" else 3)


def test_faults_of_the_listing(s3, options, select, tmp_path):
    s3.faults["bucket?list"] = ["503"] * 3
    (healed,) = fetch_batch([select("one", is_listed=True)], tmp_path, options)
    assert healed.error is None
    s3.faults["bucket?list"] = ["403"] * 100
    (denied,) = fetch_batch([select("one", is_listed=True)], tmp_path, options)
    assert denied.error.code == "access-denied"


def test_a_missing_prefix_and_a_missing_bucket(s3, options, select, tmp_path):
    gone = select("gone", is_listed=True, instance_count=1, size_bytes=10)
    nowhere = select("one", is_listed=True, series_url="s3://no-such-bucket/one/")
    object_gone = select("one", objects=(RemoteObject("s3://bucket/one/zz.dcm", 5),))
    bucket_gone = select("one", objects=(RemoteObject("s3://no-such-bucket/one/a.dcm", 5),))
    fetched = fetch_batch([gone, nowhere, object_gone, bucket_gone, select("two")], tmp_path, options)
    codes = [one.error and one.error.code for one in fetched]
    assert codes == ["object-missing", "bucket-missing", "object-missing", "bucket-missing", None]


def test_a_stalled_transfer_ends_and_leaves_nothing(s3, options, select, tmp_path):
    s3.faults["bucket/large/d.dcm"] = ["stall"] * 100
    quick = replace(options, stall_timeout_s=0.5, attempts=2)
    large, one = fetch_batch([select("large"), select("one")], tmp_path, quick)
    assert large.error.code == "transfer-stalled"
    assert one.error is None
    assert _files(tmp_path) == list(one.files)


def test_a_slow_transfer_is_no_stall(s3, options, select, tmp_path):
    s3.faults["bucket/large/d.dcm"] = ["drip"]
    (large,) = fetch_batch([select("large")], tmp_path, replace(options, stall_timeout_s=1.2, attempts=1))
    assert large.error is None


def test_a_stall_heals_at_the_second_attempt(s3, options, select, tmp_path):
    s3.faults["bucket/large/d.dcm"] = ["stall"]
    (large,) = fetch_batch([select("large")], tmp_path, replace(options, stall_timeout_s=0.5))
    assert (large.error, large.attempts) == (None, 2)


def test_the_table_and_the_bucket_disagree(s3, options, select, tmp_path):
    right = select("one").objects[0]
    wrong_size = select("one", objects=(replace(right, size_bytes=4999),))
    wrong_md5 = select("one", seg_series_uid="1.5", objects=(replace(right, md5="0" * 32),))
    more = select("two", is_listed=True, instance_count=1)
    fewer = select("two", is_listed=True, instance_count=3)
    other_sum = select("large", is_listed=True, size_bytes=1)
    fetched = fetch_batch([wrong_size, wrong_md5, more, fewer, other_sum], tmp_path, options)
    codes = [one.error.code for one in fetched]
    mismatch = "size-mismatch"
    assert codes == [mismatch, "checksum-mismatch", mismatch, "object-missing", mismatch]
    assert s3.gets("bucket/large/d.dcm") == 0  # refused before a byte is transferred


def test_rounded_megabytes_of_the_index_are_no_mismatch(s3, options, select, tmp_path):
    (large,) = fetch_batch([select("large", is_listed=True, size_bytes=3_070_000)], tmp_path, options)
    assert large.error is None


def test_more_bytes_than_promised_are_stopped(s3, options, select, tmp_path):
    s3.objects["bucket/bomb/x.dcm"] = b"x"
    promised = select("bomb")
    s3.objects["bucket/bomb/x.dcm"] = b"x" * 40_000_000
    s3.faults["bucket/bomb/x.dcm"] = ["drip"] * 9
    bomb, one = fetch_batch([promised, select("one")], tmp_path, options)
    assert bomb.error.code == "size-mismatch"
    assert "40000000" in bomb.error.message
    assert one.error is None


def test_an_object_named_twice_is_fetched_once(s3, options, select, tmp_path):
    one = select("one")
    (fetched,) = fetch_batch([replace(one, objects=one.objects * 2)], tmp_path, options)
    assert len(fetched.files) == 1
    assert s3.gets("bucket/one/a.dcm") == 1


def test_the_same_bytes_under_two_keys_are_read_once(s3, options, select, tmp_path):
    s3.objects["bucket/one/copy.dcm"] = s3.objects["bucket/one/a.dcm"]
    (fetched,) = fetch_batch([select("one")], tmp_path, options)
    assert len(fetched.files) == len(fetched.md5s) == 1


def test_an_etag_of_parts_is_no_md5(s3, options, select, tmp_path):
    s3.etags["bucket/one/a.dcm"] = f"{'0' * 32}-2"
    (fetched,) = fetch_batch([select("one", is_listed=True)], tmp_path, options)
    assert fetched.error is None


def test_an_etag_that_is_no_md5_can_be_overruled(s3, options, select, tmp_path):
    s3.etags["bucket/one/a.dcm"] = "0" * 32
    series = [select("one", is_listed=True)]
    assert fetch_batch(series, tmp_path, options)[0].error.code == "checksum-mismatch"
    assert fetch_batch(series, tmp_path, replace(options, verify_md5=False))[0].error is None


def test_nothing_is_hashed_where_nobody_asks(s3, options, select, tmp_path, monkeypatch):
    hashed = []
    real = transfer_module.md5_of
    monkeypatch.setattr(transfer_module, "md5_of", lambda path: (hashed.append(path.name), real(path))[1])
    s3.objects["bucket/one/copy.dcm"] = s3.objects["bucket/one/a.dcm"]
    unchecked = replace(options, verify_md5=False)
    two, one = fetch_batch([select("two"), select("one")], tmp_path, unchecked)
    assert [len(two.files), len(one.files)] == [2, 1]  # the same bytes are still read once
    assert two.md5s == (None, None)
    assert len(hashed) == 2  # only files of one size can be the same


def test_odd_keys_go_through(s3, options, select, tmp_path):
    keys = ['it\'s "odd" $HOME `x`.dcm', "#hash *?.dcm", "back\\slash [1].dcm", "ümlaut.dcm"]
    s3.objects |= {f"bucket/odd/{key}": key.encode() for key in keys}
    for is_listed in (False, True):
        (fetched,) = fetch_batch([select("odd", is_listed=is_listed)], tmp_path, options)
        assert fetched.error is None
        assert {path.read_bytes().decode() for path in fetched.files} == set(keys)
        assert {path.parent.parent for path in fetched.files} == {tmp_path}


def test_nobody_listens(select, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    dead = FetchOptions(endpoint=f"http://127.0.0.1:{port}", backoff_s=0.01)
    for is_listed in (False, True):
        with pytest.raises(EnvironmentProblem) as caught:
            fetch_batch([select("one", is_listed=is_listed)], tmp_path, dead)
        assert caught.value.code == "network-unavailable"
        assert isinstance(caught.value, Transient)
    assert time.monotonic() - start < 60  # s5cmd alone takes 76 s per call


def test_a_folder_that_cannot_be_written(options, select, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Cannot write") as caught:
        fetch_batch([select("one")], tmp_path / "file", options)
    assert caught.value.code == "write-failed"


@pytest.mark.parametrize("is_listed", [False, True])
def test_local_files_are_checked_and_read_in_place(options, select, tmp_path, is_listed):
    archive = tmp_path / "my archive"
    archive.mkdir()
    for n in range(2):
        (archive / f"{n}.dcm").write_bytes(bytes([n]) * 100)
    (archive / ".hidden").write_bytes(b"x")
    objects = tuple(RemoteObject((archive / f"{n}.dcm").as_uri(), 100) for n in range(2))
    local = {"series_url": f"{archive.as_uri()}/", "size_bytes": 200, "instance_count": 2}
    series = select("one", **local, objects=() if is_listed else objects)
    (fetched,) = fetch_batch([series], tmp_path / "scratch", options)
    assert fetched.files == (archive / "0.dcm", archive / "1.dcm")
    assert not (tmp_path / "scratch").exists()
    missing = replace(series, objects=(*objects, RemoteObject((archive / "9.dcm").as_uri(), 100)))
    short = replace(series, objects=(replace(objects[0], size_bytes=101),))
    corrupt = replace(series, objects=(replace(objects[0], md5="0" * 32),))
    fetched = fetch_batch([missing, short, corrupt], tmp_path / "scratch", options)
    assert [one.error.code for one in fetched] == ["object-missing", "size-mismatch", "checksum-mismatch"]
    assert {one.attempts for one in fetched} == {1}
    assert len(list(archive.iterdir())) == 3  # nothing of the user's is ever deleted


def test_strays_of_a_killed_s5cmd_are_swept(tmp_path):
    for name in ("000000.dcm", "000001.dcm2169873712", "000002.dcm1"):
        (tmp_path / name).write_bytes(b"")
    assert sweep_strays(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["000000.dcm"]


def test_hostile_uids_and_urls_never_become_paths(s3, options, select, tmp_path):
    hostile = select("one", seg_series_uid="../../../etc/passwd\n")
    (fetched,) = fetch_batch([hostile], tmp_path / "a", options)
    assert fetched.error is None
    assert fetched.files[0].is_relative_to(tmp_path / "a")
    line = select("one", objects=(RemoteObject("s3://bucket/one/a.dcm\nrm s3://bucket/one/a.dcm", 5),))
    (refused,) = fetch_batch([line], tmp_path, options)
    assert isinstance(refused.error, FetchError)
    assert refused.error.code == "unsafe-url"


# --- without a known MD5 ---------------------------------------------------------------------------


@pytest.fixture
def inspected(s3, options, select, tmp_path, request):
    """Fetch one object of unknown MD5 whose content is `content`; the index has the bytes of `good`."""
    good = SegFactory.of_masks(masks(), **getattr(request, "param", {})).build()
    found = dcmread(io.BytesIO(good))
    uids = {"seg_series_uid": found.SeriesInstanceUID, "sop": found.SOPInstanceUID}

    def fetch(content, **changes):
        s3.objects["bucket/seg/a.dcm"] = content
        s3.etags["bucket/seg/a.dcm"] = "0123-2"  # of a multipart upload: no MD5
        named = uids | changes
        source = RemoteObject("s3://bucket/seg/a.dcm", len(content), None, named.pop("sop"))
        series = select("seg", objects=(source,), **named)
        once = replace(options, attempts=1)
        return fetch_batch([series], tmp_path / "out", once, None, inspect_dicom)[0]

    return good, fetch


def test_a_file_without_md5_is_read_as_dicom(inspected):
    good, fetch = inspected
    assert (fetch(good).error, fetch(good).verified) == (None, "dicom")


@pytest.mark.parametrize("inspected", [{}, {"syntax": "1.2.840.10008.1.2.5"}], indirect=True)
@pytest.mark.parametrize(
    "broken",
    [
        lambda good: good[7:] + bytes(7),  # shifted
        lambda good: b"<Error><Code>Gone</Code></Error>".ljust(len(good)),  # an answer, padded
        lambda good: good[: len(good) // 2] + bytes(len(good) - len(good) // 2),
        lambda good: good[:-40],  # an end that the listing agrees with
    ],
)
def test_bytes_of_the_right_size_that_are_another_thing(inspected, broken):
    good, fetch = inspected
    assert fetch(broken(good)).error.code == "content-mismatch"


@pytest.mark.parametrize("changes", [{"sop": "2.25.1"}, {"seg_series_uid": "2.25.1"}])
def test_a_sound_file_that_is_another_one(inspected, changes):
    good, fetch = inspected
    assert fetch(good, **changes).error.code == "content-mismatch"


def test_what_was_checked_is_said(s3, options, select, tmp_path):
    one, listed = select("one"), select("two", is_listed=True)
    unknown = select("large", objects=tuple(replace(o, md5=None) for o in select("large").objects))
    fetched = fetch_batch([one, listed, unknown], tmp_path, options)
    assert [each.verified for each in fetched] == ["md5", "md5", "size"]
    unchecked = fetch_batch([one], tmp_path, replace(options, verify_md5=False))
    assert [each.verified for each in unchecked] == ["size"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_devices_and_pipes_of_an_index_are_refused(options, select, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    urls = ["file:///dev/zero", "file:///dev/stdin", (tmp_path / "pipe").as_uri()]
    series = [
        select("one", seg_series_uid=f"1.{n}", objects=(RemoteObject(url, size, None),))
        for n, (url, size) in enumerate((url, size) for url in urls for size in (0, None, 5000))
    ]
    fetched = fetch_batch(series, tmp_path / "out", options)
    assert {each.error.code for each in fetched} <= {"unsafe-url", "object-missing"}
