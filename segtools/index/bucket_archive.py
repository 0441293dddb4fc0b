"""A bucket read anonymously over HTTP: listing, and as much of each object as its header needs.

s5cmd moves whole objects; an index wants the first 256 KiB of each. Path-style requests of the S3
REST API (ListObjectsV2, GetObject with Range) are enough for public buckets of AWS, Google and most
servers.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segtools.errors import (
    CorruptSegError,
    EnvironmentProblem,
    FetchError,
    SpecError,
    TransientFetchError,
)
from segtools.index.folder_archive import ArchiveObject

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Result = TypeVar("Result")

AMAZON = "https://s3.amazonaws.com"
FIRST_BYTES = 256 << 10
"""First range asked for; most headers fit. Each further one is eight times as long."""
GROWTH = 8
TRIES = 3
TIMEOUT_S = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BucketArchive:
    """A bucket, or what is under a prefix of it.

    Attributes
    ----------
    endpoint : str
        ``https://s3.amazonaws.com`` or any other S3 endpoint.
    bucket, prefix : str
        Objects are those whose key starts with `prefix`, which is empty or ends with ``/``.
    """

    endpoint: str
    bucket: str
    prefix: str = ""

    @classmethod
    def at(cls, url: str, endpoint: str | None = None) -> BucketArchive:
        """Take the archive at ``s3://bucket/prefix``.

        Raises
        ------
        SpecError
            ``settings-invalid``: no bucket, or an endpoint that is no http(s) URL.
        """
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        endpoint = (endpoint or AMAZON).rstrip("/")
        if not bucket:
            raise SpecError("settings-invalid", f"{url!r} names no bucket; s3://bucket/prefix does.")
        if not endpoint.startswith(("http://", "https://")):
            raise SpecError("settings-invalid", f"The endpoint {endpoint!r} is no http:// or https:// URL.")
        prefix = prefix.rstrip("*").rstrip("/")
        return cls(endpoint, bucket, f"{prefix}/" if prefix else "")

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.bucket

    @property
    def processes(self) -> bool:
        """False: reading is waiting for the network, threads do."""
        return False

    def objects(self) -> Iterator[ArchiveObject]:
        """Every object under the prefix, in the order of keys.

        Raises
        ------
        FetchError
            ``bucket-missing``, ``access-denied``.
        EnvironmentProblem
            ``network-unavailable``.
        """
        token = ""
        while True:
            query = {"list-type": "2", "encoding-type": "url", "prefix": self.prefix}
            if token:
                query["continuation-token"] = token
            page = self._page(self._get(f"?{urllib.parse.urlencode(query)}"))
            for entry in page.iter(_named(page, "Contents")):
                key = urllib.parse.unquote_plus(_text(entry, "Key"))
                if not key.endswith("/"):
                    yield ArchiveObject(
                        key.removeprefix(self.prefix),
                        f"s3://{self.bucket}/{key}",
                        int(_text(entry, "Size")),
                        _text(entry, "ETag").strip('"'),
                    )
            token = _text(page, "NextContinuationToken")
            if not token:
                return

    def _page(self, body: bytes) -> ElementTree.Element:
        try:
            return ElementTree.fromstring(body)  # noqa: S314 - expat 2.4 bounds entity expansion
        except ElementTree.ParseError as error:
            raise EnvironmentProblem(
                "network-unavailable", f"{self.endpoint} answers a listing with something else: {error}."
            ) from error

    def text(self, path: str) -> str | None:
        """Content of a UTF-8 object; None if there is none."""
        try:
            return self._get(self._key(path)).decode("utf-8-sig")
        except FetchError as error:
            # A public bucket without the right to list answers 403 for what does not exist.
            if error.code in ("object-missing", "bucket-missing", "access-denied"):
                return None
            raise

    def header(self, found: ArchiveObject, parse: Callable[[bytes | mmap.mmap], Result]) -> Result:
        """Parse the first bytes of an object, more of them where that is not enough."""
        head = b""
        wanted = FIRST_BYTES
        while True:
            if wanted > len(head) < found.size_bytes:
                head += self._get(self._key(found.path), len(head), min(wanted, found.size_bytes) - 1)
            try:
                return parse(head)
            except CorruptSegError as error:
                # Only an end that came too early is mended by more bytes.
                if error.code != "truncated" or len(head) >= found.size_bytes:
                    raise
            wanted *= GROWTH

    def md5(self, found: ArchiveObject) -> str:
        """MD5 of the object, of which nothing is kept."""
        digest = hashlib.md5(usedforsecurity=False)
        for start in range(0, found.size_bytes, _CHUNK * 16):
            digest.update(
                self._get(self._key(found.path), start, min(start + _CHUNK * 16, found.size_bytes) - 1)
            )
        return digest.hexdigest()

    def _key(self, path: str) -> str:
        return "/" + urllib.parse.quote(self.prefix + path, safe="/-_.~")

    def _get(self, resource: str, first: int | None = None, last: int = 0) -> bytes:
        """One GET, retried; `first` to `last` bytes of the object, inclusive."""
        request = urllib.request.Request(f"{self.endpoint}/{self.bucket}{resource}")  # noqa: S310 - see `at`
        if first is not None:
            request.add_header("Range", f"bytes={first}-{last}")
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                    body: bytes = answer.read() if first is None else answer.read(last - first + 1)
            except urllib.error.HTTPError as error:
                error.close()
                problem = self._problem(error, resource)
                if not isinstance(problem, TransientFetchError) or attempt == TRIES:
                    raise problem from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == TRIES:
                    reason = getattr(error, "reason", error)
                    raise EnvironmentProblem(
                        "network-unavailable", f"{self.endpoint} cannot be reached: {reason}."
                    ) from error
            else:
                return body
            time.sleep(0.5 * 2**attempt)
        raise AssertionError("unreachable")

    def _problem(self, error: urllib.error.HTTPError, resource: str) -> FetchError:
        what = f"s3://{self.bucket}{urllib.parse.unquote(resource.partition('?')[0])}"
        listing = resource.startswith("?")
        if error.code == 404:
            if listing:
                return FetchError("bucket-missing", f"There is no bucket {self.bucket!r} at {self.endpoint}.")
            return FetchError("object-missing", f"{what} does not exist.", url=what)
        if error.code in (401, 403):
            return FetchError("access-denied", f"{self.endpoint} refuses {what}.", url=what)
        if error.code in (429, 503):
            return TransientFetchError("throttled", f"{self.endpoint} asks to slow down at {what}.", url=what)
        if error.code >= 500:
            return TransientFetchError("transfer-failed", f"{what}: HTTP {error.code}.", url=what)
        return FetchError("unreadable-object", f"{what}: HTTP {error.code} {error.reason}.", url=what)


def _named(page: ElementTree.Element, name: str) -> str:
    """`name` in the namespace of the page; servers differ in whether they have one."""
    namespace, brace, _ = page.tag.rpartition("}")
    return f"{namespace}{brace}{name}"


def _text(parent: ElementTree.Element, name: str) -> str:
    return parent.findtext(_named(parent, name)) or ""
