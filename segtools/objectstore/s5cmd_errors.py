"""What s5cmd's error texts mean: one error of ours per cause.

s5cmd has no error codes; its ``error`` field is the text of the AWS SDK or of the operating system.
The texts below were taken from s5cmd 2.3.0 against real endpoints and injected faults.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from segtools.errors import (
    EnvironmentProblem,
    FetchError,
    Transient,
    TransientFetchError,
    WriteError,
)

if TYPE_CHECKING:
    from segtools.errors import SegtoolsError


class NetworkProblem(EnvironmentProblem, Transient):
    """The endpoint cannot be reached: a matter of the whole run, never of one series."""


_CAUSES: tuple[tuple[str, type[SegtoolsError], re.Pattern[str]], ...] = tuple(
    (code, kind, re.compile(pattern, re.IGNORECASE))
    for code, kind, pattern in (
        ("disk-full", EnvironmentProblem, r"no space left on device|disk quota exceeded|file too large"),
        ("write-failed", WriteError, r"open .*permission denied|read-only file system|too many open files"),
        (
            "network-unavailable",
            NetworkProblem,
            r"connection refused|no such host|network is unreachable|no route to host"
            r"|dial tcp.*(i/o timeout|timed out)|x509:|tls: |server misbehaving",
        ),
        # A HEAD on the bucket is answered without a body, so without NoSuchBucket.
        ("bucket-missing", FetchError, r"NoSuchBucket|^NotFound: Not Found"),
        (
            "throttled",
            TransientFetchError,
            r"SlowDown|TooManyRequests|RequestLimitExceeded|Throttl|ServiceUnavailable"
            r"|status code: (429|503)",
        ),
        (
            "access-denied",
            FetchError,
            r"AccessDenied|Forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken"
            r"|NoCredentialProviders|InvalidObjectState|glacier|status code: (401|403)",
        ),
        ("object-missing", FetchError, r"NoSuchKey|no object found|status code: (404|410)"),
    )
)


def classify(text: str, url: str) -> SegtoolsError:
    """The error of ours for an error text of s5cmd about `url`.

    Whatever is not recognised is ``transfer-failed`` and worth another try: resets, early ends,
    5xx answers and time-outs come in too many words to list.
    """
    for code, kind, pattern in _CAUSES:
        if pattern.search(text):
            return kind(code, f"{url}: {_first_line(text)}", url=url)
    return TransientFetchError("transfer-failed", f"{url}: {_first_line(text)}", url=url)


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    line = re.sub(r",? (request id|host id): \S+", "", line)
    return f"{line[:300]}{'…' if len(line) > 300 else ''}."
