"""URLs from strangers, bucket names of two clouds; and nobody else knows a scheme."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from segtools.errors import FetchError, UsageError
from segtools.objectstore.bucket import Bucket, BucketOptions, from_url
from segtools.objectstore.urls import GOOGLE, file_url, local_path, safe_url

CHECKOUT = Path(__file__).resolve().parents[2]
SCHEME = re.compile(r"\b(s3|gs|file)://")


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


def test_local_names_need_not_be_utf8():
    path = Path(os.fsdecode(b"/a/\xff\xfe b.dcm"))
    assert local_path(file_url(path)) == path


def test_a_bucket_of_google_is_asked_at_google():
    assert safe_url("gs://idc-open-idc1/u/k.dcm") == "s3://idc-open-data-two/u/k.dcm"  # the same object
    assert safe_url("gs://my-own/u/k.dcm", GOOGLE) == "s3://my-own/u/k.dcm"
    with pytest.raises(FetchError, match="Google"):
        safe_url("gs://my-own/u/k.dcm")
    bucket = from_url("gs://my-own/folder")
    assert isinstance(bucket, Bucket)
    assert (bucket.url, bucket.options.endpoint) == ("s3://my-own/folder", GOOGLE)


def test_a_place_is_a_bucket_or_a_folder():
    options = BucketOptions(endpoint="http://127.0.0.1:9000")
    bucket = from_url("s3://bucket/some/name/", options)
    assert isinstance(bucket, Bucket)
    assert (bucket.name, bucket.prefix, bucket.options) == ("bucket", "some/name", options)
    assert from_url("some/folder") == Path("some/folder")
    assert from_url("file:///some/folder%20x") == Path("/some/folder x")
    for place in ("http://host/x", "s3://", "s3:///x", "gs://b/../x"):
        with pytest.raises(UsageError) as caught:
            from_url(place)
        assert caught.value.code == "unsafe-url"


def _literals(tree: ast.Module) -> list[tuple[int, str, bool]]:
    """Line, text and whether it is a docstring, of every string in a module."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value, id(node) in docstrings)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_only_objectstore_knows_the_schemes():
    """In the library nobody else writes one; in the commands their help may."""
    found = []
    for path in sorted([*(CHECKOUT / "segtools").rglob("*.py"), *(CHECKOUT / "flows").rglob("*.py")]):
        relative = path.relative_to(CHECKOUT)
        if relative.parts[:2] == ("segtools", "objectstore"):
            continue
        for line, text, is_docstring in _literals(ast.parse(path.read_text(encoding="utf-8"))):
            if SCHEME.search(text) and not (is_docstring and relative.parts[0] == "flows"):
                found.append(f"{relative}:{line}: {text.strip()[:80]!r}")
    assert found == []
