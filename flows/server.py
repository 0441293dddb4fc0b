"""The Prefect server: asked once, before anything else, so that a wrong address costs one line."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from segtools.errors import EnvironmentProblem, SegtoolsError

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFLINE = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
"""Environment of everything that imports Prefect: it tells nobody."""

_CONNECT_S = 5.0
_ANSWER_S = 60.0
"""Who takes the connection is there, and may be slow: a server that starts, a machine under load."""


def require_server(*, ephemeral: bool) -> None:
    """Make sure that the Prefect server answers.

    Parameters
    ----------
    ephemeral : bool
        Whether a server that Prefect starts for one run would do.

    Raises
    ------
    EnvironmentProblem
        ``server-unavailable``.
    """
    import httpx

    try:
        urlsplit(os.environ.get("PREFECT_API_URL", ""))  # one Prefect cannot read makes it noisy
    except ValueError as error:
        raise _unavailable(f"PREFECT_API_URL: {error}") from error
    _require_home()
    with server_errors():
        from prefect.settings import get_current_settings

        api = get_current_settings().api
    if api.url is None:
        if ephemeral:
            return
        raise EnvironmentProblem(
            "server-unavailable",
            "Prefect: PREFECT_API_URL is not set; this needs a Prefect server that stays.",
            hint="`prefect server start`, then `export PREFECT_API_URL=http://127.0.0.1:4200/api`.",
        )
    key = api.key.get_secret_value() if api.key else None
    try:
        # Prefect's own client would try for minutes.
        response = httpx.get(
            f"{api.url.rstrip('/')}/health",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            verify=not api.tls_insecure_skip_verify,
        )
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise _unavailable(f"{api.url}: {error or type(error).__name__}") from error
    if response.status_code >= 500 or response.status_code == 404:
        raise _unavailable(f"{api.url}: HTTP {response.status_code}; the address ends in /api.")


def _require_home() -> None:
    """Prefect keeps its database and profiles in a folder; without it, it would wait for minutes."""
    named = os.environ.get("PREFECT_HOME")
    home = Path(named or "~/.prefect").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise EnvironmentProblem(
            "server-unavailable",
            f"Prefect cannot write to its folder {home}: {error.strerror or error}.",
            hint="Set PREFECT_HOME to a folder that you can write to, or run without Prefect: `--direct`.",
            path=str(home),
        ) from error


@contextmanager
def server_errors() -> Iterator[None]:
    """Turn what Prefect raises when its server is away, or cannot start, into one of our errors."""
    import httpx
    from pydantic import ValidationError

    try:
        yield
    except SegtoolsError:
        raise
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        raise _unavailable(str(error) or type(error).__name__) from error
    except ValidationError as error:  # a PREFECT_* variable, read when Prefect is imported
        raise _unavailable(error.errors()[0]["msg"]) from error
    except RuntimeError as error:
        if "Prefect" not in str(error) and "API" not in str(error):
            raise
        raise _unavailable(str(error)) from error


def quiet_console() -> None:
    """Show our own lines only; everything, tracebacks too, is in the server's log."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "segtools")


def _unavailable(text: str) -> EnvironmentProblem:
    first = text.strip().splitlines()[0] if text.strip() else "no answer"
    return EnvironmentProblem("server-unavailable", f"Prefect: {first.rstrip('.')}.")
