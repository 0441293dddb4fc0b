"""URLs from strangers, bucket names of two clouds, local names."""

from __future__ import annotations

from pathlib import Path

import pytest

from segtools.errors import FetchError
from segtools.fetch.plan import plan_series
from segtools.objectstore.urls import local_path, safe_url
from segtools.series import RemoteObject

GOOGLE = "https://storage.googleapis.com"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket/key",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://-b-/key",
        "s3://bucket/../other/key",
        "s3://bucket//etc/passwd",
        "s3://bucket/key\nrm s3://bucket/*",
        "s3://bucket/key\0",
        "s3://bucket/key\u202egnp.dcm",
        "gs://bucket/key",
        "https://example.org/key",
        "ftp://bucket/key",
        "file://host/share/key",
        "file://relative/path",
        "file:///a/../../etc/passwd",
        "file:///a/%2e%2e/etc/passwd",
        "file:///a%00b",
        "file:///a?b",
        "/etc/passwd",
        "--endpoint-url=http://evil",
    ],
)
def test_what_is_refused(url):
    with pytest.raises(FetchError) as caught:
        safe_url(url)
    assert caught.value.code == "unsafe-url"


@pytest.mark.parametrize("url", ["s3://bucket/folder/", "s3://bucket/a b'\"$x.dcm", "file:///a%20b/c.dcm"])
def test_what_passes_unchanged(url):
    assert safe_url(url) == url


def test_the_wildcard_of_idc_is_a_folder():
    assert safe_url("s3://idc-open-data/uuid/*") == "s3://idc-open-data/uuid/"


@pytest.mark.parametrize(
    ("aws", "gcs"),
    [
        ("idc-open-data", "idc-open-data"),
        ("idc-open-data-two", "idc-open-idc1"),
        ("idc-open-data-cr", "idc-open-cr"),
        ("my-own", "my-own"),
    ],
)
def test_buckets_have_the_name_of_the_endpoint(aws, gcs):
    assert safe_url(f"s3://{aws}/u/k.dcm", GOOGLE) == f"s3://{gcs}/u/k.dcm"
    assert safe_url(f"s3://{gcs}/u/k.dcm", None) == f"s3://{aws}/u/k.dcm"
    assert safe_url(f"s3://{gcs}/u/k.dcm", "https://s3.eu-west-1.amazonaws.com") == f"s3://{aws}/u/k.dcm"
    assert safe_url(f"s3://{aws}/u/k.dcm", "http://127.0.0.1:9000") == f"s3://{aws}/u/k.dcm"


def test_local_paths_are_unquoted():
    assert local_path("file:///a%20b/%C3%BC.dcm") == Path("/a b/ü.dcm")
    assert local_path(Path("/a b/ü#?.dcm").as_uri()) == Path("/a b/ü#?.dcm")


def test_a_prefix_with_wildcards_is_not_listed(select, tmp_path):
    plan = plan_series(select("one", is_listed=True, series_url="s3://bucket/o*e/"), tmp_path, None)
    assert plan.error.code == "unsafe-url"
    assert plan.to_list == []


def test_only_objects_without_a_size_are_listed(select, tmp_path):
    known, unknown = RemoteObject("s3://bucket/one/a.dcm", 5), RemoteObject("s3://bucket/one/b.dcm")
    plan = plan_series(select("one", objects=(known, unknown)), tmp_path, None)
    assert plan.to_list == [unknown.url]
    assert plan.size_bytes == 5


def test_an_object_is_no_folder(select, tmp_path):
    plan = plan_series(select("one", objects=(RemoteObject("s3://bucket/one/", 5),)), tmp_path, None)
    assert plan.error.code == "unsafe-url"


def test_a_local_series_of_one_file_and_of_none(select, tmp_path):
    file = tmp_path / "a.dcm"
    file.write_bytes(b"12345")
    row = {"is_listed": True, "size_bytes": 5, "instance_count": 1}
    assert plan_series(select("one", series_url=file.as_uri(), **row), tmp_path, None).items[0].path == file
    gone = plan_series(select("one", series_url=(tmp_path / "b").as_uri(), **row), tmp_path, None)
    assert gone.error.code == "object-missing"
