"""URLs of objects, and the names of IDC's buckets on both clouds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from segtools.errors import FetchError

if TYPE_CHECKING:
    pass


GCS_OF_AWS = {
    "idc-open-data": "idc-open-data",
    "idc-open-data-two": "idc-open-idc1",
    "idc-open-data-cr": "idc-open-cr",
}
"""IDC's buckets: the keys are the same on both clouds, two of three bucket names are not."""


AWS_OF_GCS = {gcs: aws for aws, gcs in GCS_OF_AWS.items()}


_S3_URL = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])/(?P<key>.+)")


def is_remote(url: str) -> bool:
    """Whether s5cmd must fetch it."""
    return url.startswith("s3://")


def safe_url(url: str, endpoint: str | None = None) -> str:
    """The URL as s5cmd or the file system may see it, its bucket under the endpoint's own name.

    Parameters
    ----------
    url : str
        ``s3://bucket/key``, ``s3://bucket/folder/`` (or ``…/*``), or ``file:///path``.
    endpoint : str, optional
        Google's or Amazon's endpoint maps IDC's bucket names; any other leaves them.

    Raises
    ------
    FetchError
        ``unsafe-url``.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in url) or not url.isprintable():
        raise unsafe_url(url, "it holds control characters")
    if url.startswith("file://"):
        local_path(url)
        return url
    match = _S3_URL.fullmatch(url.removesuffix("*") if url.endswith("/*") else url)
    if match is None:
        raise unsafe_url(url, "only s3://bucket/key and file:///path are allowed")
    if ".." in match["key"].split("/") or match["key"].startswith("/"):
        raise unsafe_url(url, "it climbs out of its folder")
    return f"s3://{_bucket(match['bucket'], endpoint)}/{match['key']}"


def local_path(url: str) -> Path:
    """The absolute path of a ``file:///`` URL.

    Raises
    ------
    FetchError
        ``unsafe-url``: a host, a relative path, ``..`` or a NUL.
    """
    parts = urlsplit(url, allow_fragments=False)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query:
        raise unsafe_url(url, "a local URL is file:/// and an absolute path")
    if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise unsafe_url(url, "a local URL is file:/// and an absolute path without '..'")
    return path


def _bucket(name: str, endpoint: str | None) -> str:
    host = (urlsplit(endpoint).hostname or "") if endpoint else "s3.amazonaws.com"
    if host == "storage.googleapis.com":
        return GCS_OF_AWS.get(name, name)
    return AWS_OF_GCS.get(name, name) if host.endswith(".amazonaws.com") else name


def unsafe_url(url: str, why: str) -> FetchError:
    """Make the error ``unsafe-url``."""
    return FetchError("unsafe-url", f"URL {url[:200]!r} is refused: {why}.", url=url[:200])
