"""Single objects of a bucket, in process, with obstore: what datasets, the index and listings need.

Whole cohorts are s5cmd's (`segtools.objectstore.s5cmd`). obstore can create an object only where there
is none (a dataset's lock needs that), says the MD5 of what arrived, and reads the first bytes of an
object. S3 shows an object whole or not at all, so a PUT is what an atomic rename is on a disk.
"""

from __future__ import annotations

import configparser
import importlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from segtools.errors import (
    EnvironmentProblem,
    MissingError,
    SegtoolsError,
    UsageError,
    WriteError,
)
from segtools.files import md5_of, replacing
from segtools.objectstore.urls import (
    AMAZON,
    FILE,
    GOOGLE,
    S3,
    is_bucket_url,
    local_path,
    names_bucket,
    object_url,
    split_bucket_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

_MD5 = re.compile(r"[0-9a-f]{32}")
_METADATA = "http://169.254.169.254/"  # where a role's credentials are asked for, after all else
_PART_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 300
"""Of one request with its answer: trickling bytes do not prolong it."""
_ANONYMOUS_RETRIES = 3
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class BucketOptions:
    """How to reach a bucket.

    Without a profile, credentials are those of the environment (``AWS_ACCESS_KEY_ID`` and so on, a
    web identity, the machine's role).

    Attributes
    ----------
    endpoint : str or None
        URL of the S3 endpoint; None is AWS.
    region : str or None
        Default: the environment's, else us-east-1.
    profile, credentials_file : str or None
        Section of a credentials file of AWS's kind; default: ``default`` of ``~/.aws/credentials``
        where either is given.
    workers : int
        Requests at a time.
    verify_md5 : bool
        Compare the ETag of what was written with its MD5. Set it off for buckets whose ETags look
        like an MD5 but are none (SSE-KMS).
    anonymous : bool
        Sign no request, and look at no credentials.
    timeout_s : int, s
        Of one request with its answer.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials_file: str | None = None
    workers: int = 16
    verify_md5: bool = True
    anonymous: bool = False
    timeout_s: int = _TIMEOUT_S


class Listed(NamedTuple):
    """What a listing says of an object."""

    size_bytes: int
    e_tag: str
    changed_s: float = 0.0

    @property
    def md5(self) -> str | None:
        """Of objects that were written in one request; None where the ETag is none."""
        bare = self.e_tag.strip('"').lower()
        return bare if _MD5.fullmatch(bare) else None


def from_url(place: str | Path, options: BucketOptions | None = None) -> Bucket | Path:
    """The bucket or the folder that a user's word for a place means.

    Parameters
    ----------
    place : str or Path
        ``s3://bucket/name``, ``gs://bucket/name``, ``file:///folder``, or a path.
    options : BucketOptions, optional
        Of a bucket.

    Raises
    ------
    UsageError
        ``unsafe-url``: a URL of another kind, or one without a bucket.
    FetchError
        ``unsafe-url``: no such ``file://`` URL is possible.
    """
    text = str(place)
    if names_bucket(text):
        return Bucket(text, options)
    if isinstance(place, Path):
        return place
    if text.startswith(FILE):
        return local_path(text)
    is_bucket_url(text)  # refuses the other schemes
    return Path(text)


class Bucket:
    """The objects below ``s3://bucket/prefix``; keys are relative to it. Pickles, without secrets.

    Parameters
    ----------
    url : str
        ``gs://`` is the same with Google's S3 endpoint, where `options` names no other.
    options : BucketOptions, optional

    Raises
    ------
    UsageError
        ``unsafe-url``: no such URL is possible.
    """

    def __init__(self, url: str, options: BucketOptions | None = None) -> None:
        scheme, bucket, prefix = split_bucket_url(url) or ("", "", "")
        if not bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
            raise UsageError(
                "unsafe-url", f"{url!r} names no bucket.", hint=f"Write {S3}bucket/name.", value=url
            )
        self.name = bucket
        self.prefix = prefix
        self.url = object_url(bucket, prefix).rstrip("/")
        self.options = options or BucketOptions()
        self._has_ranges = True
        if scheme == "gs" and self.options.endpoint is None:
            self.options = replace(self.options, endpoint=GOOGLE)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.options)

    def list(self, prefix: str = "") -> dict[str, Listed]:
        """Objects below a prefix that ends at a ``/``, by key.

        Raises
        ------
        EnvironmentProblem
            ``access-denied``, ``bucket-missing``, ``network-unavailable``; so do all methods.
        """
        pages = iter(self._asked(lambda: self._api.list(self._store, prefix or None, chunk_size=1000)) or ())
        found: dict[str, Listed] = {}
        while page := self._asked(lambda: next(pages, None)):
            before = len(found)
            found |= {
                item["path"]: Listed(item["size"], item["e_tag"] or "", item["last_modified"].timestamp())
                for item in page
            }
            if len(found) == before:
                raise self._problem("network-unavailable", "the listing repeats itself without end")
        return found

    def names(self) -> frozenset[str]:
        """First components of all keys."""
        found = self._asked(lambda: self._api.list_with_delimiter(self._store)) or {}
        objects = (item["path"] for item in found.get("objects", ()))
        return frozenset(path.strip("/") for path in (*found.get("common_prefixes", ()), *objects))

    def stat(self, key: str) -> Listed | None:
        """What is known of one object, without a listing; None if there is none."""
        found = self._asked(lambda: self._api.head(self._store, key))
        if found is None:
            return None
        return Listed(found["size"], found["e_tag"] or "", found["last_modified"].timestamp())

    def get_bytes(self, key: str) -> bytes | None:
        """A small object; None if there is none."""
        found = self._asked(lambda: self._api.get(self._store, key).bytes())
        return None if found is None else bytes(found)

    def get_range(self, key: str, start: int, end: int) -> bytes | None:
        """Bytes from `start` up to `end`; fewer where the object ends, None if there is none.

        Of an endpoint that answers a range as if it were the whole (rclone, with status 200), the
        object is read from its start, and no further than `end`.
        """
        if start >= end:
            return b""
        if self._has_ranges:
            try:
                found = self._asked(
                    lambda: self._api.get(self._store, key, options={"range": (start, end)}).bytes()
                )
            except EnvironmentProblem as error:
                if "NotPartial" not in str(error.__cause__):
                    raise
                self._has_ranges = False
            else:
                return None if found is None else bytes(found)
        head = bytearray()
        try:
            for chunk in self.stream(key):
                head += chunk
                if len(head) >= end:
                    break
        except MissingError:
            return None
        return bytes(head[start:end])

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, piece by piece.

        Raises
        ------
        MissingError
            ``not-found``.
        """
        found = self._asked(lambda: self._api.get(self._store, key))
        if found is None:
            raise MissingError("not-found", f"{self.url}/{key} does not exist.", path=key)
        pieces = iter(found.stream(min_chunk_size=_CHUNK_BYTES))
        while (chunk := self._asked(lambda: next(pieces, None))) is not None:
            yield bytes(chunk)

    def get(self, key: str, path: Path) -> None:
        """Bring an object to `path`, all or nothing.

        Raises
        ------
        MissingError
            ``not-found``.
        WriteError, EnvironmentProblem
            See `segtools.files.replacing`.
        """
        pieces = self.stream(key)
        first = next(pieces, b"")  # what does not exist leaves no file
        with replacing(path) as file:
            file.write(first)
            for piece in pieces:
                file.write(piece)

    def put(self, key: str, content: Path | bytes) -> None:
        """Write an object, all or nothing; an existing one is replaced.

        Raises
        ------
        WriteError
            ``write-failed``: other bytes arrived.
        """
        # Given as a whole, small objects are one request, and their ETag is their MD5.
        body = content.read_bytes() if isinstance(content, Path) and _is_small(content) else content
        done = self._put(key, body)
        if isinstance(body, bytes) and self.options.verify_md5:
            arrived = Listed(len(body), done["e_tag"] or "").md5
            if arrived not in (None, md5_of(body)):
                raise WriteError("write-failed", f"Other bytes than were sent arrived in {self.url}/{key}.")

    def create(self, key: str, content: bytes) -> bool:
        """Write an object where there is none; False if there is one.

        An endpoint that does not know ``If-None-Match`` writes it anyway.
        """
        try:
            self._put(key, content, "create")
        except FileExistsError:
            return False
        return True

    def copy(self, key: str, target: str) -> None:
        """Copy an object within the bucket, replacing what is there."""
        self._asked(lambda: self._api.copy(self._store, key, target))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        wanted = sorted(keys)
        for start in range(0, len(wanted), 1000):
            self._asked(partial(self._api.delete, self._store, wanted[start : start + 1000]))

    def all(self, function: Callable[[T], object], items: Iterable[T]) -> None:
        """Call `function` with each of `items`, several at a time; the first error ends it."""
        with ThreadPoolExecutor(self.options.workers, "bucket") as pool:
            futures = [pool.submit(function, item) for item in items]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def matches(self, listed: Listed | None, path: Path) -> bool:
        """Whether an object surely has the bytes of a file."""
        return (
            listed is not None
            and listed.md5 is not None
            and listed.size_bytes == path.stat().st_size
            and listed.md5 == md5_of(path)
        )

    # --- the client -------------------------------------------------------------------------------

    @cached_property
    def _api(self) -> Any:
        try:
            importlib.import_module("obstore.store")
            importlib.import_module("obstore.exceptions")
            return importlib.import_module("obstore")
        except ImportError as error:
            raise MissingError(
                "not-found",
                f"{self.url} needs the package obstore, which is not installed.",
                hint="Install the extra `s3`.",
            ) from error

    @property
    def _errors(self) -> Any:
        return self._api.exceptions

    @cached_property
    def _store(self) -> Any:
        options = self.options
        given: dict[str, Any] = {
            "endpoint": options.endpoint,
            "region": options.region,
            **self._credentials(),
        }
        client: dict[str, Any] = {"timeout": f"{options.timeout_s}s"}
        if options.anonymous:
            given |= {"skip_signature": True, "endpoint": options.endpoint or AMAZON}
            given["retry_config"] = {"max_retries": _ANONYMOUS_RETRIES}  # of many objects, one may fail
        if options.endpoint and options.endpoint.startswith("http://"):
            client["allow_http"] = True
        if options.endpoint and (host := urlsplit(options.endpoint).hostname) in _LOOPBACK:
            # A proxy of our own that every host is excluded from: the environment's is not asked.
            client |= {"proxy_url": _NOWHERE, "proxy_excludes": host}
        return self._api.store.S3Store(
            self.name,
            prefix=self.prefix or None,
            client_options=client,
            **{key: value for key, value in given.items() if value is not None},
        )

    def _credentials(self) -> dict[str, str | None]:
        options = self.options
        if options.anonymous or not (options.profile or options.credentials_file):
            return {}
        path = Path(options.credentials_file or "~/.aws/credentials").expanduser()
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text())
            section = parser[options.profile or "default"]
        except (OSError, ValueError, configparser.Error, KeyError) as error:
            raise EnvironmentProblem(
                "access-denied",
                f"{path} gives no credentials for the profile {options.profile or 'default'!r}.",
                hint="See write.profile and write.credentials_file.",
                path=str(path),
            ) from error
        return {
            "access_key_id": section.get("aws_access_key_id"),
            "secret_access_key": section.get("aws_secret_access_key"),
            "session_token": section.get("aws_session_token"),
        }

    def _put(self, key: str, body: Path | bytes, mode: str = "overwrite") -> Any:
        def ask() -> Any:
            return self._api.put(
                self._store, key, body, mode=mode, use_multipart=None, chunk_size=_PART_BYTES
            )

        done = self._asked(ask)
        if done is None:
            raise EnvironmentProblem("bucket-missing", f"There is no bucket {self.name}.", path=self.url)
        return done

    def _asked(self, ask: Callable[[], T]) -> T | None:
        """What a request gives; None for what does not exist."""
        try:
            return ask()
        except SegtoolsError:  # of the credentials; it is an OSError too
            raise
        except (self._errors.BaseError, OSError, ValueError) as error:
            if isinstance(error, FileExistsError | self._errors.AlreadyExistsError):
                raise FileExistsError(str(error)) from error
            if "NoSuchBucket" in str(error):
                raise self._problem("bucket-missing", error) from error
            if isinstance(error, FileNotFoundError | self._errors.NotFoundError):
                return None
            if isinstance(error, self._errors.InvalidPathError | ValueError):  # of a listing; of a key
                said = str(error).partition("\n")[0]
                raise UsageError("unsafe-url", f"{self.url}: {said}.", path=self.url) from error
            if _METADATA in str(error):
                message = (
                    f"{self.url}: there are no credentials in the environment, and no role of this machine."
                )
                hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write.profile."
                raise EnvironmentProblem("access-denied", message, hint=hint, path=self.url) from error
            refused = (PermissionError, self._errors.PermissionDeniedError, self._errors.UnauthenticatedError)
            code = "access-denied" if isinstance(error, refused) else "network-unavailable"
            raise self._problem(code, error) from error

    def _problem(self, code: str, error: Exception | str) -> EnvironmentProblem:
        said = re.sub(r"\s+", " ", str(error).partition("\n\nDebug source")[0])[:300]
        hint = "See write.endpoint, write.region, write.profile and the bucket's policy."
        if self.options.anonymous:
            hint = "Check the endpoint, and whether the bucket may be read without credentials."
        return EnvironmentProblem(code, f"{self.url}: {said}.", hint=hint, path=self.url)


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= _PART_BYTES
