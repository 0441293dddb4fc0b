"""A bucket read anonymously: its listing, and as much of each object as its header needs.

s5cmd lists: it takes keys that no path can have, and can be ended when the pages do not. It moves whole
objects though, and an index wants the first 256 KiB of each: those are read with obstore.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from segtools.errors import (
    CorruptSegError,
    EnvironmentProblem,
    FetchError,
    SpecError,
    TransientFetchError,
)
from segtools.index.folder_archive import ArchiveObject
from segtools.objectstore.bucket import Bucket, BucketOptions
from segtools.objectstore.s5cmd import FetchOptions, S5cmd
from segtools.objectstore.urls import object_url

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Result = TypeVar("Result")

FIRST_BYTES = 256 << 10
"""First range asked for; most headers fit. Each further one is eight times as long."""
GROWTH = 8
TIMEOUT_S = 60
MOST_TEXT_BYTES = 64 << 20


@dataclass(frozen=True)
class BucketArchive:
    """A bucket, or what is under a prefix of it.

    Attributes
    ----------
    bucket : Bucket
        Read anonymously.
    """

    bucket: Bucket

    @classmethod
    def at(cls, url: str, endpoint: str | None = None) -> BucketArchive:
        """Take the archive at a bucket's URL.

        Parameters
        ----------
        url : str
            Of a bucket or of a folder in one, with or without ``/*`` at its end.
        endpoint : str, optional
            ``http://`` or ``https://`` URL of an S3 endpoint; default: that of the URL's own cloud.

        Raises
        ------
        SpecError
            ``settings-invalid``: an endpoint that is no http(s) URL.
        UsageError
            ``unsafe-url``: no bucket.
        """
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise SpecError(
                "settings-invalid", f"The endpoint {endpoint!r} is not an http:// or https:// URL."
            )
        options = BucketOptions(endpoint=endpoint, anonymous=True, timeout_s=TIMEOUT_S)
        return cls(Bucket(url.rstrip("*"), options))

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self.bucket.name

    @property
    def processes(self) -> bool:
        """False: reading is waiting for the network, threads do."""
        return False

    @cached_property
    def _base(self) -> str:
        """What the URLs of all objects start with."""
        return object_url(self.bucket.name, f"{self.bucket.prefix}/" if self.bucket.prefix else "")

    def objects(self) -> Iterator[ArchiveObject]:
        """Every object under the prefix, in the order of keys.

        Raises
        ------
        FetchError
            ``bucket-missing``, ``access-denied``, ``listing-limit``, ``transfer-stalled``.
        EnvironmentProblem
            ``network-unavailable``, ``s5cmd-missing``.
        """
        s5cmd = S5cmd(FetchOptions(endpoint=self.bucket.options.endpoint))
        for url, found in s5cmd.walk(self._base).items():
            yield ArchiveObject(url.removeprefix(self._base), url, found.size_bytes, found.e_tag.strip('"'))

    def text(self, path: str) -> str | None:
        """Content of a UTF-8 object; None if there is none."""
        try:
            found = self.bucket.get_range(path, 0, MOST_TEXT_BYTES)
        except EnvironmentProblem as error:
            # A public bucket without the right to list answers 403 for what does not exist.
            if error.code in ("bucket-missing", "access-denied"):
                return None
            raise
        return None if found is None else found.decode("utf-8-sig")

    def header(self, found: ArchiveObject, parse: Callable[[bytes | mmap.mmap], Result]) -> Result:
        """Parse the first bytes of an object, more of them where that is not enough."""
        head = b""
        wanted = FIRST_BYTES
        while True:
            end = min(wanted, found.size_bytes)
            if len(head) < end:
                head += self._range(found, len(head), end)
            try:
                return parse(head)
            except CorruptSegError as error:
                # Only an end that came too early is mended by more bytes.
                if error.code != "truncated" or len(head) >= found.size_bytes:
                    raise
            wanted *= GROWTH

    def _range(self, found: ArchiveObject, start: int, end: int) -> bytes:
        part = self.bucket.get_range(found.path, start, end)
        if part is None:
            raise FetchError("object-missing", f"{found.url} does not exist any more.", url=found.url)
        if len(part) < end - start:
            raise TransientFetchError(
                "transfer-failed",
                f"{found.url}: {start + len(part)} bytes came, {found.size_bytes} were listed.",
                url=found.url,
            )
        return part

    def md5(self, found: ArchiveObject) -> str:
        """MD5 of the object, of which nothing is kept."""
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        for chunk in self.bucket.stream(found.path):
            size += len(chunk)
            if size > found.size_bytes:
                break
            digest.update(chunk)
        if size != found.size_bytes:
            raise TransientFetchError(
                "size-mismatch", f"{found.url} has other bytes than were listed.", url=found.url
            )
        return digest.hexdigest()
