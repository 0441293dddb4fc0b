"""Objects of a dataset in an S3 bucket: the few operations that outputs need.

Downloads of a cohort are s5cmd's; a dataset is written in process with obstore, which can create an
object only where there is none (the lock needs that) and says the MD5 of what arrived. S3 shows an
object whole or not at all, so a PUT is what an atomic rename is on a disk.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from segtools.errors import EnvironmentProblem, MissingError, UsageError, WriteError
from segtools.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_URL = re.compile(r"s3:/{1,2}(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_MD5 = re.compile(r"[0-9a-f]{32}")
_METADATA = "http://169.254.169.254/"  # where a role's credentials are asked for, after all else
_PART_BYTES = 16 << 20
_TIMEOUT = "300s"


@dataclass(frozen=True)
class BucketOptions:
    """How to reach the bucket that a dataset is written to.

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
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    credentials_file: str | None = None
    workers: int = 16
    verify_md5: bool = True


class Listed(NamedTuple):
    """What a listing says of an object."""

    size_bytes: int
    e_tag: str
    changed_s: float = 0.0

    @property
    def md5(self) -> str | None:
        """Of objects that were written in one request; None where the ETag is none."""
        bare = self.e_tag.strip('"')
        return bare if _MD5.fullmatch(bare) else None


def is_bucket_url(text: str) -> bool:
    """Whether `text` names a bucket rather than a folder.

    Raises
    ------
    UsageError
        ``unsafe-url``: it is a URL of another kind.
    """
    scheme = _SCHEME.match(text)
    if scheme and scheme[1] != "s3":
        raise UsageError(
            "unsafe-url",
            f"{text!r} is no place for a dataset.",
            hint="Give a folder, or s3://bucket/name.",
            value=text,
        )
    return scheme is not None


class Bucket:
    """The objects below ``s3://bucket/prefix``; keys are relative to it. Pickles, without secrets.

    Parameters
    ----------
    url : str
    options : BucketOptions, optional

    Raises
    ------
    UsageError
        ``unsafe-url``: no such URL is possible.
    """

    def __init__(self, url: str, options: BucketOptions | None = None) -> None:
        match = _URL.fullmatch(url)
        prefix = (match["prefix"] or "").strip("/") if match else ""
        if match is None or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
            raise UsageError(
                "unsafe-url", f"{url!r} is no place for a dataset.", hint="Write s3://bucket/name.", value=url
            )
        self.name = match["bucket"]
        self.prefix = prefix
        self.url = f"s3://{self.name}/{prefix}".rstrip("/")
        self.options = options or BucketOptions()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.options)

    def list(self, prefix: str = "") -> dict[str, Listed]:
        """Objects below a prefix that ends at a ``/``, by key.

        Raises
        ------
        EnvironmentProblem
            ``access-denied``, ``bucket-missing``, ``network-unavailable``; so do all methods.
        """
        pages = self._asked(lambda: list(self._api.list(self._store, prefix or None, chunk_size=1000)))
        return {
            item["path"]: Listed(item["size"], item["e_tag"] or "", item["last_modified"].timestamp())
            for page in pages or ()
            for item in page
        }

    def names(self) -> frozenset[str]:
        """First components of all keys."""
        found = self._asked(lambda: self._api.list_with_delimiter(self._store)) or {}
        objects = (item["path"] for item in found.get("objects", ()))
        return frozenset(path.strip("/") for path in (*found.get("common_prefixes", ()), *objects))

    def get_bytes(self, key: str) -> bytes | None:
        """A small object; None if there is none."""
        found = self._asked(lambda: self._api.get(self._store, key).bytes())
        return None if found is None else bytes(found)

    def get(self, key: str, path: Path) -> None:
        """Bring an object to `path`, all or nothing.

        Raises
        ------
        MissingError
            ``not-found``.
        WriteError, EnvironmentProblem
            See `segtools.files.replacing`.
        """
        found = self._asked(lambda: self._api.get(self._store, key))
        if found is None:
            raise MissingError("not-found", f"{self.url}/{key} does not exist.", path=key)
        with replacing(path) as file:
            stream = iter(found.stream(min_chunk_size=_PART_BYTES))
            while (chunk := self._asked(lambda: next(stream, None))) is not None:
                file.write(chunk)

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
            if arrived not in (None, _md5(body)):
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
            and listed.md5 == _md5(path.read_bytes())
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
                f"{self.url} needs the package obstore.",
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
        client: dict[str, Any] = {"timeout": _TIMEOUT}
        if options.endpoint and options.endpoint.startswith("http://"):
            client["allow_http"] = True
        return self._api.store.S3Store(
            self.name,
            prefix=self.prefix or None,
            client_options=client,
            **{key: value for key, value in given.items() if value is not None},
        )

    def _credentials(self) -> dict[str, str | None]:
        options = self.options
        if not (options.profile or options.credentials_file):
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
        except (self._errors.BaseError, OSError) as error:
            if isinstance(error, FileExistsError | self._errors.AlreadyExistsError):
                raise FileExistsError(str(error)) from error
            if "NoSuchBucket" in str(error):
                raise self._problem("bucket-missing", error) from error
            if isinstance(error, FileNotFoundError | self._errors.NotFoundError):
                return None
            if _METADATA in str(error):
                message = (
                    f"{self.url}: there are no credentials in the environment, and no role of this machine."
                )
                hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write.profile."
                raise EnvironmentProblem("access-denied", message, hint=hint, path=self.url) from error
            refused = (PermissionError, self._errors.PermissionDeniedError, self._errors.UnauthenticatedError)
            code = "access-denied" if isinstance(error, refused) else "network-unavailable"
            raise self._problem(code, error) from error

    def _problem(self, code: str, error: Exception) -> EnvironmentProblem:
        said = re.sub(r"\s+", " ", str(error).partition("\n\nDebug source")[0])[:300]
        hint = "See write.endpoint, write.region, write.profile and the bucket's policy."
        return EnvironmentProblem(code, f"{self.url}: {said}.", hint=hint, path=self.url)


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= _PART_BYTES


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
