"""A proxy before AWS's stand-in that counts requests and spoils some of them, as a network and a busy S3 do."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "slow down", "internal error", "drop", "drop the answer", "cut the answer", "wrong etag", "hang", "denied"
]
_REFUSALS = {"slow down": (503, "SlowDown"), "internal error": (500, "InternalError"), "denied": (403, "AccessDenied")}
_HOP = ("connection", "transfer-encoding", "content-length", "date", "server", "keep-alive")


@dataclass
class Fault:
    """Spoil the next `times` requests of a method whose path and query hold a text.

    `drop` is a connection closed before the request is read by AWS, `drop the answer` one closed after AWS has done it,
    `hang` one that stays open, while nothing is ever answered.
    """

    kind: Kind
    method: str
    part: str = ""
    times: int = 1


@dataclass
class FaultyProxy:
    """Requests by method (a copy is `COPY`, a bulk delete `DELETE MANY`), and the faults still to come."""

    url: str
    target: str
    faults: list[Fault] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    interruptions: dict[str, Callable[[], object]] = field(default_factory=dict)

    @contextmanager
    def before(self, method: str, act: Callable[[], object]) -> Iterator[None]:
        """Do something when such a request has come, once, before it is passed on."""
        self.interruptions[method] = act
        yield
        assert method not in self.interruptions

    def fault_of(self, method: str, path: str) -> Kind | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.part in unquote(path):
                    fault.times -= 1
                    return fault.kind
        return None


@contextmanager
def faulty_proxy(target: str, *faults: Fault) -> Iterator[FaultyProxy]:
    """Serve what `target` serves on another port, spoiled by the faults; every fault must come to pass."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.proxy = proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}", target, list(faults))
    thread = threading.Thread(target=server.serve_forever, name="faulty-proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [fault for fault in proxy.faults if fault.times] == []


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method = self._name()
        with self.proxy.lock:
            self.proxy.calls[method] += 1
        if act := self.proxy.interruptions.pop(method, None):
            act()
        kind = self.proxy.fault_of(method, self.path)
        if kind == "drop":
            self._hang_up()
            return
        if kind == "hang":
            self.connection.recv(1)  # nothing comes before the client hangs up
            self.close_connection = True
            return
        if kind in _REFUSALS:
            status, code = _REFUSALS[kind]
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{kind}</Message></Error>".encode())
            return
        connection = HTTPConnection(urlsplit(self.proxy.target).netloc)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self._pass_on(answer, answer.read(), kind)
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _name(self) -> str:
        if "x-amz-copy-source" in self.headers:
            return "COPY"
        if self.command == "POST" and urlsplit(self.path).query.startswith("delete"):
            return "DELETE MANY"
        if self.command == "GET" and "list-type" in self.path:
            return "LIST"
        return self.command

    def _pass_on(self, answer: HTTPResponse, body: bytes, kind: Kind | None) -> None:
        if kind == "drop the answer":
            self._hang_up()
            return
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        if kind == "wrong etag":
            headers = {name: '"0123"' if name.lower() == "etag" else value for name, value in headers.items()}
            body = re.sub(rb"<ETag>.*?</ETag>", b"<ETag>&quot;0123&quot;</ETag>", body)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self._answer(answer.status, headers, body, length, cut=kind == "cut the answer")

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, length: str | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self._hang_up()

    def _hang_up(self) -> None:
        # Without lingering, the close is a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: tests count the requests instead."""
