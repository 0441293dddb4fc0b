"""A gate in front of an S3 endpoint: counts what changes it, and shuts, or spoils, at one of these."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

CHANGING = ("PUT", "POST", "DELETE")
KEY = ("an_access_key", "a_secret_of_its_own")


class Gate:
    """Forwards requests to `url`, which serves `folder`.

    Attributes
    ----------
    changes : list of (method, path)
        Requests that change something, also those refused.
    shut_at : int or None
        Number of the change from which on everything is refused, as if the writer were gone.
    spoil : str
        End of the keys of which another byte is stored than was sent.
    knows_conditions : bool
        Whether ``If-None-Match: *`` is obeyed; rclone does not know it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.target = urlsplit(url).netloc
        self.folder = folder
        self.changes: list[tuple[str, str]] = []
        self.shut_at: int | None = None
        self.spoil = ""
        self.knows_conditions = True
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"gate": self}))
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def open(self) -> None:
        """Forget what happened and let all through."""
        self.changes.clear()
        self.shut_at, self.spoil = None, ""

    def is_shut(self, method: str, path: str) -> bool:
        with self.lock:
            if method in CHANGING:
                self.changes.append((method, path))
            return self.shut_at is not None and len(self.changes) >= self.shut_at

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate: Gate

    def log_message(self, *_: Any) -> None:
        return

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        if self.gate.is_shut(self.command, path):
            return self._say(403, "AccessDenied")
        is_create = self.headers.get("If-None-Match") == "*"
        if is_create and self.gate.knows_conditions and (self.gate.folder / path.lstrip("/")).exists():
            return self._say(412, "PreconditionFailed")
        if self.gate.spoil and self.command == "PUT" and path.endswith(self.gate.spoil):
            body = bytes([body[0] ^ 1]) + body[1:]
        connection = http.client.HTTPConnection(self.gate.target)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return self._answer(answer.status, answer.read(), dict(answer.getheaders()))
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _say(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        kept = {name: value for name, value in headers.items() if name.lower() not in _OWN}
        if self.command != "HEAD":
            kept["Content-Length"] = str(len(body))
        elif "Content-Length" in headers:
            kept["Content-Length"] = headers["Content-Length"]
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_OWN = ("content-length", "transfer-encoding", "connection", "date", "server")
