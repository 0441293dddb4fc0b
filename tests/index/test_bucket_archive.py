"""An archive in a bucket: listed page by page, read by its first bytes, over real HTTP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from flows.s3_endpoint import serve_folder
from segtools.errors import EnvironmentProblem, FetchError, UsageError
from segtools.index import bucket_archive, build_index
from segtools.phantom.archive import OPEN_BUCKET
from tests.factories.faulty_s3 import FaultyS3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from segtools.phantom.archive import Archived


@pytest.fixture(scope="module")
def endpoint(archive: tuple[Path, list[Archived]]) -> Iterator[str]:
    with serve_folder(archive[0]) as url:
        yield url


def test_a_bucket_gives_what_its_folder_gives(
    archive: tuple[Path, list[Archived]], endpoint: str, tmp_path: Path
) -> None:
    folder = archive[0] / OPEN_BUCKET
    there = build_index(f"s3://{OPEN_BUCKET}", tmp_path / "there", endpoint=endpoint, collection="c")
    here = build_index(folder, tmp_path / "here", url_base=f"s3://{OPEN_BUCKET}", collection="c")
    assert there.skipped == here.skipped
    assert there.series == here.series > 5
    for name in ("segmentations", "instances", "series_index"):
        one, two = (pq.read_table(tmp_path / n / f"{name}.parquet") for n in ("there", "here"))
        if name == "series_index":
            # Images have no MD5: their content id is made of the ETag in one, of the clock in the other.
            segmentations = [row["Modality"] == "SEG" for row in one.to_pylist()]
            assert one.filter(segmentations) == two.filter(segmentations)
            one, two = (table.drop_columns("crdc_series_uuid") for table in (one, two))
        assert one == two


def test_a_prefix_and_its_collections_table(seg_bytes: Callable[..., bytes], tmp_path: Path) -> None:
    served = tmp_path / "served" / "bucket" / "a folder" / "é"
    served.mkdir(parents=True)
    (served / "1 +%.dcm").write_bytes(seg_bytes())
    (served.parent / "collections.csv").write_text("path,collection_id\né,accented\n", encoding="utf-8")
    with serve_folder(tmp_path / "served") as url:
        report = build_index("s3://bucket/a folder/*", tmp_path / "out", endpoint=url)
    assert (report.series, report.skipped) == (1, ())
    rows = pq.read_table(tmp_path / "out" / "series_index.parquet").to_pylist()
    assert [row["collection_id"] for row in rows] == ["accented"]
    assert [row["series_aws_url"] for row in rows] == ["s3://bucket/a folder/é/"]


def test_long_headers_take_more_ranges(
    archive: tuple[Path, list[Archived]], endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_archive, "FIRST_BYTES", 256)
    report = build_index(f"s3://{OPEN_BUCKET}", tmp_path, endpoint=endpoint, checksum=False)
    assert {skipped.code for skipped in report.skipped} == {"not-segmentation"}
    assert report.segments > 40


def test_only_the_header_travels(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_archive, "FIRST_BYTES", 2048)
    source = bucket_archive.BucketArchive.at(f"s3://{OPEN_BUCKET}", endpoint)
    large = max(source.objects(), key=lambda found: found.size_bytes)
    assert large.size_bytes > 10 * 2048
    assert source.header(large, len) == 2048


def test_what_cannot_be_listed(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        build_index("s3://no-such-bucket", tmp_path, endpoint=endpoint)
    assert caught.value.code == "bucket-missing"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(EnvironmentProblem) as refused:
        build_index("s3://bucket", tmp_path, endpoint=nobody)
    assert refused.value.code == "network-unavailable"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "endpoint_url", "code"),
    [
        ("s3://", None, "unsafe-url"),
        ("s3://bucket/a//b", None, "unsafe-url"),
        ("http://host/bucket", None, "unsafe-url"),
        ("s3://bucket", "file:///etc", "settings-invalid"),
        ("s3://bucket", "host:80", "settings-invalid"),
    ],
)
def test_addresses_that_are_none(url: str, endpoint_url: str | None, code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        build_index(url, tmp_path, endpoint=endpoint_url)
    assert caught.value.code == code


def test_names_that_are_no_paths_cost_their_own_row(seg_bytes: Callable[..., bytes], tmp_path: Path) -> None:
    """One odd key once ended the listing of the whole bucket."""
    good, odd = seg_bytes("a"), seg_bytes("b")
    with FaultyS3(
        {"bucket/p/good #1%.dcm": good, "bucket/p/a//b.dcm": odd, "bucket/p/x/../y.dcm": odd}
    ) as s3:
        report = build_index("s3://bucket/p", tmp_path, endpoint=s3.url)
    assert report.series == 1
    assert {(skipped.path, skipped.code) for skipped in report.skipped} == {
        ("a//b.dcm", "unsafe-url"),
        ("x/../y.dcm", "unsafe-url"),
    }


@pytest.mark.parametrize("answers_ranges", [True, False])
def test_a_loopback_bucket_needs_no_proxy(
    seg_bytes: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers_ranges: bool
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(
            name, "socks5://127.0.0.1:1" if name.lower() == "all_proxy" else "http://127.0.0.1:1"
        )
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    (tmp_path / "served" / "bucket" / "a.dcm").write_bytes(seg_bytes())
    if answers_ranges:
        with FaultyS3({"bucket/a.dcm": seg_bytes()}) as s3:
            report = build_index("s3://bucket", tmp_path / "out", endpoint=s3.url)
    else:
        with serve_folder(tmp_path / "served") as endpoint:
            report = build_index("s3://bucket", tmp_path / "out", endpoint=endpoint)
    assert (report.series, report.skipped) == (1, ())


def test_an_object_that_changes_or_trickles_costs_its_own_row(
    seg_bytes: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_archive, "TIMEOUT_S", 1)
    with FaultyS3({"bucket/a.dcm": seg_bytes("a"), "bucket/b.dcm": seg_bytes("b")}) as s3:
        s3.faults["bucket/a.dcm"] = ["trickle"] * 99
        report = build_index("s3://bucket", tmp_path, endpoint=s3.url)
    assert report.series == 1
    assert [(skipped.path, skipped.code) for skipped in report.skipped] == [("a.dcm", "network-unavailable")]
