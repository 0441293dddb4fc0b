"""Single objects of a bucket, in process, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flows.s3_endpoint import serve_folder
from segtools.errors import EnvironmentProblem, MissingError, UsageError
from segtools.objectstore.bucket import Bucket, BucketOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.factories.faulty_s3 import FaultyS3

CONTENT = bytes(range(256)) * 12_000


@pytest.fixture(params=["ranges", "no ranges"])
def bucket(s3: FaultyS3, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """The same bucket at an endpoint that answers ranges with 206, and at rclone's, which says 200."""
    if request.param == "ranges":
        yield Bucket("s3://bucket", BucketOptions(endpoint=s3.url, anonymous=True))
        return
    (tmp_path / "served" / "bucket" / "large").mkdir(parents=True)
    (tmp_path / "served" / "bucket" / "large" / "d.dcm").write_bytes(CONTENT)
    with serve_folder(tmp_path / "served") as endpoint:
        yield Bucket("s3://bucket", BucketOptions(endpoint=endpoint, anonymous=True))


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 1000), (999, 70_001), (3_071_990, 3_072_000), (5, 5)])
def test_a_range_is_that_range(bucket: Bucket, start: int, end: int) -> None:
    assert bucket.get_range("large/d.dcm", start, end) == CONTENT[start:end]
    assert bucket.get_range("large/none.dcm", 0, 10) is None


def test_a_stream_is_the_object(bucket: Bucket) -> None:
    assert b"".join(bucket.stream("large/d.dcm")) == CONTENT
    with pytest.raises(MissingError):
        list(bucket.stream("large/none.dcm"))


def test_what_does_not_exist_leaves_no_file(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        bucket.get("large/none.dcm", tmp_path / "x" / "file")
    bucket.get("large/d.dcm", tmp_path / "y" / "file")
    assert [path.name for path in tmp_path.glob("[xy]/*")] == ["file"]


def test_keys_that_are_no_paths_are_refused_by_a_code(bucket: Bucket) -> None:
    for key in ("a//b", "../b", "a/./b"):
        with pytest.raises(UsageError) as caught:
            bucket.get_range(key, 0, 1)
        assert caught.value.code == "unsafe-url"


@pytest.mark.slow
def test_a_listing_that_repeats_itself_ends(s3: FaultyS3) -> None:
    s3.faults["bucket?list"] = ["repeat"] * 10_000
    bucket = Bucket("s3://bucket", BucketOptions(endpoint=s3.url, anonymous=True))
    with pytest.raises(EnvironmentProblem, match="repeats itself"):
        bucket.list("one/")


def test_anonymous_looks_at_no_credentials(s3: FaultyS3, tmp_path: Path) -> None:
    options = BucketOptions(
        endpoint=s3.url, anonymous=True, profile="none", credentials_file=str(tmp_path / "none")
    )
    assert Bucket("s3://bucket", options).get_bytes("one/a.dcm") == b"A" * 5000
    with pytest.raises(EnvironmentProblem) as caught:
        Bucket("s3://bucket", BucketOptions(endpoint=s3.url, profile="none")).get_bytes("one/a.dcm")
    assert caught.value.code == "access-denied"
