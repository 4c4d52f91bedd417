"""A database that is away for a minute: which failures pass, and doing the whole of a unit again until they have."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial, wraps
from typing import Any, TypeVar

import psycopg

from lake_pipeline.backoff import pauses
from lake_pipeline.errors import LedgerError, LedgerUnreachable
from lake_pipeline.ledger.postgres import shown_url

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Method = TypeVar("_Method", bound=Callable[..., Any])

# Long enough for a server that restarts or fails over, and as long as a lease lasts.
PATIENCE = timedelta(minutes=2)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds

# Connections that broke or were refused; a server that ends, crashed or starts; too many clients; a transaction that
# another one was in the way of. https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING = ("08", "57P01", "57P02", "57P03", "25P03", "53300", "40001", "40P01")


def passes(error: psycopg.Error) -> bool:
    """Whether the same transaction may succeed by and by; what broke without an answer has no code."""
    code = error.sqlstate
    return isinstance(error, psycopg.OperationalError) if code is None else code.startswith(_PASSING)


def failure(error: psycopg.Error, url: str = "") -> LedgerError:
    """What a client's error is to callers, with the `url` where it is of connecting; its password is not shown."""
    kind = LedgerUnreachable if passes(error) else LedgerError
    return kind(f"{shown_url(url)}: {error}" if url else str(error))


def patiently(act: Callable[[], _T], what: str, patience: timedelta = PATIENCE) -> _T:
    """What `act` returns, done again from its begin while the database does not answer; each try is logged.

    A commit whose answer was lost may have been made, so `act` must be one that may be repeated.

    Raises:
        LedgerUnreachable: for as long as `patience` it did not.
    """
    begun, waits, tries = time.monotonic(), pauses(_FIRST_PAUSE, _LONGEST_PAUSE), 0
    while True:
        tries += 1
        try:
            return act()
        except LedgerUnreachable as error:
            passed, pause = time.monotonic() - begun, next(waits)
            if passed + pause > patience.total_seconds():
                if tries == 1:
                    raise
                raise LedgerUnreachable(f"{error.detail} ({tries} tries in {passed:.0f} s)") from error
            reason = error.detail.splitlines()[0]
            _log.warning("%s, try %d, after %.1f s: %s; again in %.1f s", what, tries, passed, reason, pause)
            time.sleep(pause)


def once(method: _Method) -> _Method:
    """Mark a method of the ledger that is not to be repeated; say there why."""
    method.__dict__["once"] = True
    return method


def repeated(method: Callable[..., _T]) -> Callable[..., _T]:
    """A method of the ledger that is done again from its begin; for as long as the ledger has `patience`."""

    @wraps(method)
    def patient(ledger: Any, *arguments: Any, **named: Any) -> _T:
        return patiently(partial(method, ledger, *arguments, **named), method.__name__, ledger.patience)

    return patient


def may_be_repeated(name: str, member: object) -> bool:
    """Whether a class's member is a unit of its own: no context manager or stream, whose block cannot be run again."""
    if name.startswith("_") or not inspect.isfunction(member) or "once" in member.__dict__:
        return False
    return not inspect.isgeneratorfunction(inspect.unwrap(member))
