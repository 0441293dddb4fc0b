"""Where objects are: the only place that knows the schemes of their URLs.

``s3://bucket/key`` is fetched by s5cmd or obstore, ``gs://bucket/key`` is the same bucket asked at
Google's own S3 endpoint, ``file:///path`` is read in place. A URL comes from a table that somebody else
wrote: `safe_url` and `local_path` decide what s5cmd and the file system get to see.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from segtools.errors import FetchError, UsageError

S3 = "s3://"
GS = "gs://"
FILE = "file://"

AMAZON = "https://s3.amazonaws.com"
GOOGLE = "https://storage.googleapis.com"

GCS_OF_AWS = {
    "idc-open-data": "idc-open-data",
    "idc-open-data-two": "idc-open-idc1",
    "idc-open-data-cr": "idc-open-cr",
}
"""IDC's buckets: the keys are the same on both clouds, two of three bucket names are not."""

AWS_OF_GCS = {gcs: aws for aws, gcs in GCS_OF_AWS.items()}

IDC_EXPORT = f"{S3}idc-open-metadata/bigquery_export"
"""Where IDC exports its BigQuery tables with each release, one folder per release and table."""

IDC_INDEX_ARTIFACTS = f"{S3}idc-index-data-artifacts"
"""Releases of idc-index-data, at `GOOGLE`: one folder per release."""

_OBJECT_URL = re.compile(
    r"(?P<scheme>s3|gs)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])/(?P<key>.+)"
)
# One slash is enough: `Path` makes `s3:/bucket` of `s3://bucket`.
_BUCKET_URL = re.compile(
    r"(?P<scheme>s3|gs):/{1,2}(?P<bucket>[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


SERIES_FOLDER = re.compile(
    r"s3://[^/\s]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/|gs://[^/\s]+/([0-9a-f-]{36})/"
)
"""The crdc_series_uuid in a URL of IDC's, as manifests have them: the first group or the second."""


def object_url(bucket: str, key: str) -> str:
    """The URL of an object, or of a prefix.

    Examples
    --------
    >>> object_url("bucket", "folder/1.dcm")
    's3://bucket/folder/1.dcm'
    """
    return f"{S3}{bucket}/{key}"


def is_remote(url: str) -> bool:
    """Whether s5cmd must fetch it."""
    return url.startswith((S3, GS))


def split_bucket_url(url: str) -> tuple[str, str, str] | None:
    """Scheme, bucket and prefix of a bucket's URL; None where it is none.

    Examples
    --------
    >>> split_bucket_url("s3://bucket/some/name/")
    ('s3', 'bucket', 'some/name')
    """
    match = _BUCKET_URL.fullmatch(url)
    return None if match is None else (match["scheme"], match["bucket"], (match["prefix"] or "").strip("/"))


def names_bucket(text: str) -> bool:
    """Whether `text` has the scheme of a bucket, however wrong the rest may be."""
    scheme = _SCHEME.match(text)
    return scheme is not None and scheme[1] in ("s3", "gs")


def is_bucket_url(text: str) -> bool:
    """Whether `text` names a bucket rather than a folder, as the place of a dataset.

    Raises
    ------
    UsageError
        ``unsafe-url``: it is a URL of another kind.
    """
    scheme = _SCHEME.match(text)
    if scheme and scheme[1] != "s3":
        raise UsageError(
            "unsafe-url",
            f"{text!r} cannot hold a dataset.",
            hint=f"Give a folder, or {S3}bucket/name.",
            value=text,
        )
    return scheme is not None


def safe_url(url: str, endpoint: str | None = None) -> str:
    """The URL as s5cmd or the file system may see it, its bucket under the endpoint's own name.

    Parameters
    ----------
    url : str
        ``s3://bucket/key``, ``s3://bucket/folder/`` (or ``…/*``), the same with ``gs://``, or
        ``file:///path``.
    endpoint : str, optional
        Google's or Amazon's endpoint maps IDC's bucket names; any other leaves them.

    Returns
    -------
    str
        With the scheme ``s3`` or ``file``.

    Raises
    ------
    FetchError
        ``unsafe-url``.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in url) or not url.isprintable():
        raise unsafe_url(url, "it holds control characters")
    if url.startswith(FILE):
        local_path(url)
        return url
    match = _OBJECT_URL.fullmatch(url.removesuffix("*") if url.endswith("/*") else url)
    if match is None:
        raise unsafe_url(url, f"only {S3}bucket/key, {GS}bucket/key and {FILE}/path are allowed")
    if ".." in match["key"].split("/") or match["key"].startswith("/"):
        raise unsafe_url(url, "it climbs out of its folder")
    return object_url(_bucket(url, match["scheme"], match["bucket"], endpoint), match["key"])


def _bucket(url: str, scheme: str, name: str, endpoint: str | None) -> str:
    host = (urlsplit(endpoint).hostname or "") if endpoint else "s3.amazonaws.com"
    if host == "storage.googleapis.com":
        return GCS_OF_AWS.get(name, name)
    if scheme == "gs" and name not in AWS_OF_GCS and host.endswith(".amazonaws.com"):
        raise unsafe_url(url, f"this bucket is Google's, the endpoint is Amazon's; set it to {GOOGLE}")
    return AWS_OF_GCS.get(name, name) if host.endswith(".amazonaws.com") else name


def file_url(path: Path) -> str:
    """The URL of a file here; names that are not UTF-8 survive, quoted byte by byte."""
    return path.absolute().as_uri()


def local_path(url: str) -> Path:
    """The absolute path of a ``file:///`` URL.

    Raises
    ------
    FetchError
        ``unsafe-url``: a host, a relative path, ``..`` or a NUL.
    """
    parts = urlsplit(url, allow_fragments=False)
    path = Path(unquote(parts.path, errors="surrogateescape"))
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query:
        raise unsafe_url(url, "a local URL is file:/// and an absolute path")
    if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise unsafe_url(url, "a local URL is file:/// and an absolute path without '..'")
    return path


def unsafe_url(url: str, why: str) -> FetchError:
    """Make the error ``unsafe-url``."""
    return FetchError("unsafe-url", f"URL {url[:200]!r} is refused: {why}.", url=url[:200])
