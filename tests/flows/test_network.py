"""Proxies of the environment do not stand between us and this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from flows.network import LOOPBACK, keep_loopback_direct
from tests.factories.faulty_s3 import FaultyS3

DEAD = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_proxy_nothing_changes() -> None:
    keep_loopback_direct()
    assert "no_proxy" not in os.environ


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("proxy", [DEAD, "socks5://127.0.0.1:1", "socks5h://127.0.0.1:1"])
def test_loopback_is_asked_directly(monkeypatch: pytest.MonkeyPatch, name: str, proxy: str) -> None:
    monkeypatch.setenv("no_proxy", "internal.example")
    monkeypatch.setenv("NO_PROXY", "internal.example")
    monkeypatch.setenv(name, proxy)
    keep_loopback_direct()
    assert set(os.environ["NO_PROXY"].split(",")) == {"internal.example", *LOOPBACK}
    with FaultyS3({"bucket/a": b"x"}) as server:
        assert httpx.get(f"{server.url}/bucket/a").content == b"x"
        with pytest.raises(httpx.TransportError):  # the proxy holds for everybody else
            httpx.get("http://192.0.2.1/", timeout=5)


def test_a_star_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("no_proxy", "*")
    keep_loopback_direct()
    assert os.environ["no_proxy"] == "*"


@pytest.mark.parametrize("proxy", [DEAD, "socks5://127.0.0.1:1"])
def test_the_server_is_found_behind_dead_proxies(proxy: str, tmp_path: Path) -> None:
    """In a process of its own: Prefect reads its settings once."""
    ask = (
        "from flows.network import keep_loopback_direct; from flows.server import require_server; "
        "keep_loopback_direct(); require_server(ephemeral=False)"
    )
    with FaultyS3({"api/health": b"true"}) as server:
        environment = os.environ | {
            "http_proxy": DEAD,
            "ALL_PROXY": proxy,
            "PREFECT_HOME": str(tmp_path),
            "PREFECT_API_URL": f"{server.url}/api",
        }
        subprocess.run([sys.executable, "-c", ask], env=environment, check=True)
