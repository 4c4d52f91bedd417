"""A proxy before Postgres that goes away for a while, or breaks a connection within the round trip of a commit."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, urlsplit

# What becomes of the commit whose round trip is broken.
Commit = Literal["committed", "not committed"]


@dataclass
class Outage:
    """Every connection breaks and none is taken for `seconds`, from when someone says something that holds `part`.

    The statement itself does not reach the server.
    """

    part: str
    seconds: float


@dataclass
class CutCommit:
    """The connection breaks at the COMMIT of the ledger's next transaction in which it says what holds `part`."""

    part: str
    outcome: Commit


@dataclass
class PostgresProxy:
    """The database's URL by way of the proxy; faults still to come, and how many connections were refused."""

    url: str
    target: str
    faults: list[Outage | CutCommit] = field(default_factory=list)
    refused: int = 0
    _away_until: float = 0
    _open: set[_Connection] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def go_away(self, seconds: float) -> None:
        """Break every connection, and take none for so long."""
        with self._lock:
            self._away_until = time.monotonic() + seconds
            broken = list(self._open)
        for connection in broken:
            connection.reset()

    def is_away(self) -> bool:
        return time.monotonic() < self._away_until

    def fault_of(self, message: bytes, of_ledger: bool) -> Outage | CutCommit | None:
        with self._lock:
            for fault in self.faults:
                if fault.part.encode() in message and (of_ledger or isinstance(fault, Outage)):
                    self.faults.remove(fault)
                    return fault
        return None

    def opened(self, connection: _Connection) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: _Connection) -> None:
        with self._lock:
            self._open.discard(connection)


@contextmanager
def postgres_proxy(url: str, *faults: Outage | CutCommit) -> Iterator[PostgresProxy]:
    """Serve the database of a `url` on a TCP port; every fault must come to pass."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    # Encryption would hide from the proxy what is said.
    proxied = f"postgresql://postgres@127.0.0.1:{port}{parts.path}?sslmode=disable&gssencmode=disable"
    proxy = PostgresProxy(proxied, f"{query['host']}/.s.PGSQL.{query['port']}", list(faults))

    def serve() -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = listener.accept()
                if proxy.is_away():
                    proxy.refused += 1
                    client.close()
                else:
                    _Connection(client, proxy).start()

    thread = threading.Thread(target=serve, name="postgres-proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        # A close alone does not wake who waits for a client.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        proxy.go_away(0)
    assert proxy.faults == []


class _Connection:
    """One client and its server; each way is a thread."""

    def __init__(self, client: socket.socket, proxy: PostgresProxy) -> None:
        self._client, self._proxy = client, proxy
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.connect(proxy.target)
        self._swallows = threading.Event()
        self._cut: CutCommit | None = None
        proxy.opened(self)

    def start(self) -> None:
        for way in (self._to_server, self._to_client):
            threading.Thread(target=self._run, args=(way,), name="postgres-connection", daemon=True).start()

    def reset(self) -> None:
        """Without lingering, the close is a reset."""
        self._proxy.closed(self)
        for side in (self._client, self._server):
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def _run(self, way: object) -> None:
        with suppress(OSError):
            way()  # type: ignore[operator]
        self.reset()

    def _to_client(self) -> None:
        while data := self._server.recv(65536):
            if self._swallows.is_set():
                return  # the server has answered, so it has committed
            self._client.sendall(data)

    def _to_server(self) -> None:
        startup = self._read(4)
        startup += self._read(struct.unpack("!i", startup)[0] - 4)
        of_ledger = b"application_name\0lake\0" in startup
        self._server.sendall(startup)
        while True:
            kind = self._read(1)
            length = self._read(4)
            body = self._read(struct.unpack("!i", length)[0] - 4)
            if not self._may_pass(kind, body, of_ledger):
                return
            self._server.sendall(kind + length + body)
            if self._swallows.is_set():
                # The other way ends this connection, once the server has answered.
                self._read(1)

    def _may_pass(self, kind: bytes, body: bytes, of_ledger: bool) -> bool:
        """Whether the message may reach the server."""
        if kind in b"QP" and (fault := self._proxy.fault_of(body, of_ledger)):
            if isinstance(fault, Outage):
                self._proxy.go_away(fault.seconds)
                return False
            self._cut = fault
        if kind == b"Q" and body == b"COMMIT\0" and self._cut is not None:
            if self._cut.outcome == "not committed":
                return False
            self._swallows.set()
        return True

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._client.recv(length - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data
