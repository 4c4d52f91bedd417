"""CPU seconds of the ledger's benchmark, which other work on the machine does not stretch as it does the clock's."""

from __future__ import annotations

import resource
from contextlib import suppress

import psutil
import psycopg


class Cpu:
    """What the server of a database, this process and its ended children have used, since it was made or asked last."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            self._server = psutil.Process(psutil.Process(backend).ppid())
        self._last = self._used()

    def lap(self) -> float:
        """Seconds since the last time."""
        before, self._last = self._last, self._used()
        return self._last - before

    def _used(self) -> float:
        times = self._server.cpu_times()
        used = times.user + times.system + times.children_user + times.children_system
        for child in self._server.children():
            with suppress(psutil.NoSuchProcess):
                of_child = child.cpu_times()
                used += of_child.user + of_child.system
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            of_ours = resource.getrusage(who)
            used += of_ours.ru_utime + of_ours.ru_stime
        return used
