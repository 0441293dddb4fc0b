"""An S3 endpoint on loopback that misbehaves on demand: lists, heads and gets, with faults per key."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_ERRORS = {
    "403": (403, "AccessDenied"),
    "404": (404, "NoSuchKey"),
    "429": (429, "TooManyRequests"),
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
}


class FaultyS3:
    """Objects in memory and the faults of the next requests.

    Attributes
    ----------
    objects : dict of str to bytes
        By ``bucket/key``.
    faults : dict of str to list of str
        By ``bucket/key`` (GET) or ``bucket?list``: one per request, in order; ``"ok"`` is none, the
        others are an HTTP status, ``reset``, ``truncate``, ``corrupt``, ``stall``, ``drip`` (eight
        pieces) or ``trickle`` (a byte at a time); of a listing also ``repeat`` (the same page again)
        and ``endless`` (always another page).
    etags : dict of str to str
        Where it is not the MD5.
    page_size : int
        Keys per page of a listing.
    requests : list of (method, path)
    """

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.faults: dict[str, list[str]] = {}
        self.etags: dict[str, str] = {}
        self.page_size = 1000
        self.requests: list[tuple[str, str]] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"s3": self}))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def gets(self, name: str) -> int:
        """GET requests of an object so far."""
        return sum(request == ("GET", name) for request in self.requests)

    def next_fault(self, name: str) -> str:
        with self.lock:
            faults = self.faults.get(name)
            return faults.pop(0) if faults else "ok"

    def etag(self, name: str) -> str:
        return self.etags.get(name) or hashlib.md5(self.objects[name]).hexdigest()

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """A killed client is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: FaultyS3

    def log_message(self, *_: Any) -> None:
        return

    def do_HEAD(self) -> None:
        name = self._name()
        if "/" not in name.rstrip("/"):
            return self._answer(200 if self._has_bucket(name) else 404)
        return self._answer(200, self.s3.objects[name]) if name in self.s3.objects else self._answer(404)

    def do_GET(self) -> None:
        name = self._name()
        query = parse_qs(urlsplit(self.path).query)
        is_list = "list-type" in query
        fault = self.s3.next_fault(f"{name.rstrip('/')}?list" if is_list else name)
        if fault in _ERRORS:
            return self._error(*_ERRORS[fault])
        if is_list:
            return self._list(name.rstrip("/"), query, fault)
        if name not in self.s3.objects:
            return self._error(404, "NoSuchKey" if self._has_bucket(name) else "NoSuchBucket")
        return self._object(name, fault)

    def _name(self) -> str:
        name = unquote(urlsplit(self.path).path).lstrip("/")
        self.s3.requests.append((self.command, name))
        return name

    def _has_bucket(self, name: str) -> bool:
        return any(key.startswith(f"{name.partition('/')[0]}/") for key in self.s3.objects)

    def _list(self, bucket: str, query: dict[str, list[str]], fault: str) -> None:
        prefix = f"{bucket}/{query.get('prefix', [''])[0]}"
        if not self._has_bucket(bucket):
            return self._error(404, "NoSuchBucket")
        keys = sorted(key for key in self.s3.objects if key.startswith(prefix))
        start = int(query.get("continuation-token", ["0"])[0])
        page = keys[start : start + self.s3.page_size]
        end = start + len(page)
        contents = "".join(
            f"<Contents><Key>{escape(key.partition('/')[2])}</Key><Size>{len(self.s3.objects[key])}</Size>"
            f"<ETag>&quot;{self.s3.etag(key)}&quot;</ETag><LastModified>2026-01-01T00:00:00.000Z"
            "</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{end}</NextContinuationToken>"
        tail = more if end < len(keys) else "<IsTruncated>false</IsTruncated>"
        if fault in ("repeat", "endless"):
            token = f"{start + 1}" if fault == "repeat" else f"{start + self.s3.page_size}"
            tail = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            more_names = range(start, start + self.s3.page_size) if fault == "endless" else range(1)
            contents = "".join(
                f"<Contents><Key>{escape(prefix.partition('/')[2])}{n:09d}</Key><Size>1</Size>"
                "<ETag>x</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for n in more_names
            )
        page_text = f"<ListBucketResult>{contents}{tail}</ListBucketResult>"
        return self._answer(200, page_text.encode(), fault=fault)

    def _object(self, name: str, fault: str) -> None:
        body = self.s3.objects[name]
        status, headers = 200, {"ETag": f'"{self.s3.etag(name)}"'}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first = int(match[1])
            last = min(int(match[2]) if match[2] else len(body) - 1, len(body) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            status, body = 206, body[first : last + 1]
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return self.connection.close()
        if fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        return self._answer(status, body, headers, fault)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>by the test</Message></Error>".encode())

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, fault: str = "ok"
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2
        try:
            if fault == "truncate":
                self.wfile.write(body[:half])
                self.close_connection = True
            elif fault == "stall":
                self.wfile.write(body[:half])
                self.s3.stopping.wait()
            elif fault == "trickle":
                for start in range(len(body)):
                    self.wfile.write(body[start : start + 1])
                    if self.s3.stopping.wait(0.1):
                        break
            elif fault == "drip":
                for start in range(0, len(body), max(1, len(body) // 8)):
                    self.wfile.write(body[start : start + max(1, len(body) // 8)])
                    self.s3.stopping.wait(0.25)
            else:
                self.wfile.write(body)
        except OSError:
            self.close_connection = True
