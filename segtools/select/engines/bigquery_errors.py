"""What Google's client raises, as this project's errors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from segtools.errors import (
    EnvironmentProblem,
    QueryError,
    SegtoolsError,
    SelectError,
    Transient,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class UnavailableError(EnvironmentProblem, Transient):
    """BigQuery did not answer, for now."""


_REFUSALS = {
    "accessDenied": "access is denied",
    "billingNotEnabled": "the project has no billing account",
    "quotaExceeded": "a quota of the project is exceeded",
    "responseTooLarge": "the answer is too large",
}
_PASSING = ("rateLimitExceeded", "backendError", "internalError", "badGateway")


@contextlib.contextmanager
def translated(query: str) -> Iterator[None]:
    """Raise what the client raises inside as an error with a code.

    Raises
    ------
    EnvironmentProblem
        ``credentials-missing``, ``query-refused``, ``query-unavailable`` (transient).
    SelectError
        ``query-too-expensive``, ``table-invalid``.
    QueryError
        ``query-invalid``.
    """
    import concurrent.futures

    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth

    try:
        yield
    except auth.TransportError as error:
        raise UnavailableError("query-unavailable", f"Google's token service: {_short(error)}.") from error
    except auth.GoogleAuthError as error:
        raise EnvironmentProblem(
            "credentials-missing", f"No usable Google credentials: {_short(error)}."
        ) from error
    except exceptions.RetryError as error:
        cause = error.cause or error
        raise UnavailableError(
            "query-unavailable", f"BigQuery did not answer {query!r}: {_short(cause)}."
        ) from error
    except exceptions.GoogleAPICallError as error:
        raise _call_error(error, query) from error
    except (requests.RequestException, ConnectionError, concurrent.futures.TimeoutError) as error:
        raise UnavailableError(
            "query-unavailable", f"BigQuery did not answer {query!r}: {_short(error)}."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, SegtoolsError):
            raise
        raise EnvironmentProblem(
            "credentials-missing", f"The Google credentials cannot be read: {_short(error)}."
        ) from error


def _call_error(error: object, query: str) -> SegtoolsError:
    """The error for an answer of the API, by its reason rather than its HTTP status.

    The client gives unknown reasons status 500, so ``bytesBilledLimitExceeded`` may come as one.
    """
    from google.api_core import exceptions

    assert isinstance(error, exceptions.GoogleAPICallError)  # noqa: S101 - narrowed by the caller
    reasons = [str(item.get("reason")) for item in error.errors if isinstance(item, dict)]
    text = _short(error)
    if "bytesBilledLimitExceeded" in reasons or "limit for bytes billed" in text:
        return SelectError("query-too-expensive", f"Query {query!r}: {text}.", query=query)
    for reason, sentence in _REFUSALS.items():
        if reason in reasons:
            return EnvironmentProblem(
                "query-refused", f"BigQuery refused {query!r}: {sentence} ({text}).", reason=reason
            )
    if isinstance(error, exceptions.NotFound):
        return SelectError("table-invalid", f"Query {query!r}: {text}.", query=query)
    if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
        return EnvironmentProblem("query-refused", f"BigQuery refused {query!r}: {text}.", query=query)
    if isinstance(error, exceptions.ServerError | exceptions.TooManyRequests) or set(reasons) & set(_PASSING):
        return UnavailableError(
            "query-unavailable", f"BigQuery did not answer {query!r}: {text}.", query=query
        )
    return QueryError("query-invalid", f"BigQuery refused query {query!r}: {text}.", query=query)


def _short(error: BaseException) -> str:
    text = str(getattr(error, "message", None) or error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:300].rstrip(".")
