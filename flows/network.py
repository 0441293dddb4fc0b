"""Proxies of the environment: never for this machine itself.

Prefect's server, an S3 endpoint of a test and everything else on loopback is asked directly, whatever
``http_proxy`` says. Go's and Rust's clients do so by themselves; httpx, which Prefect uses, does not, and
its requests to a proxy that cannot reach this machine end after minutes as a time-out.
"""

from __future__ import annotations

import os

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def keep_loopback_direct() -> None:
    """Except loopback from the proxies of this process and of what it starts; nothing where there is none."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    named = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    hosts = dict.fromkeys(host.strip() for text in named for host in text.split(",") if host.strip())
    if "*" in hosts:
        return
    text = ",".join(hosts | dict.fromkeys(LOOPBACK))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = text
