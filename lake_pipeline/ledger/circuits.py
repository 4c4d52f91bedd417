"""Circuit breakers that outlive a tick and a process, because their states are in the ledger."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from lake_pipeline.circuit import Circuit
from lake_pipeline.errors import CircuitOpen, LedgerError
from lake_pipeline.ledger.connection import Connection, LedgerConnection
from lake_pipeline.ledger.retrying import repeated


class CircuitLedger(LedgerConnection):
    """Which services keep failing, and until when they are left alone."""

    @contextmanager
    def breaker(self, name: str) -> Iterator[None]:
        """Call a service inside of the block: `with ledger.breaker("sqs"): …`.

        Every Exception that leaves the block is a failure of the service, so nothing but the calls belongs there, and
        an answer that is no failure (throttling that is waited for, say) is caught inside.

        Raises:
            CircuitOpen: the service has failed so often that it is not called for a while; the block is not run.
        """
        self._enter(name)
        try:
            yield
        except Exception as error:
            with suppress(LedgerError):  # why the call failed says more
                self._failed(name, f"{type(error).__name__}: {error}")
            raise
        self._succeeded(name)

    def open_circuits(self) -> dict[str, Circuit]:
        """The circuits that are open or half-open, by name."""
        with self._transaction() as connection:
            return {name: Circuit(*state) for name, *state in self._queries.open_circuits(connection)}

    # Done twice, these err on the safe side: a trial that nobody makes, a failure that counts for two.

    @repeated
    def _enter(self, name: str) -> None:
        with self._transaction() as connection:
            if self._queries.circuit_is_closed(connection, name=name):
                return
            circuit, now = self._lock(connection, name)
            if circuit.state(now) == "open":
                raise CircuitOpen(
                    f"{name}, after {circuit.failures} failures in a row, until"
                    f" {circuit.open_until:%Y-%m-%d %H:%M:%S %Z}; the last was {circuit.last_error}"
                )
            if circuit.state(now) == "half-open":
                self._save(connection, name, circuit.on_trial(now))

    @repeated
    def _failed(self, name: str, error: str) -> None:
        with self._transaction() as connection:
            circuit, now = self._lock(connection, name)
            self._save(connection, name, circuit.failed(now, error.replace("\0", ""), random.random()))

    @repeated
    def _succeeded(self, name: str) -> None:
        with self._transaction() as connection:
            self._queries.forget_circuit(connection, name=name)

    def _lock(self, connection: Connection, name: str) -> tuple[Circuit, datetime]:
        """The circuit, held until the transaction ends, and the server's time, which all callers share."""
        self._queries.add_circuit(connection, name=name)
        failures, open_until, last_error, now = self._queries.lock_circuit(connection, name=name)
        return Circuit(failures, open_until, last_error), now

    def _save(self, connection: Connection, name: str, circuit: Circuit) -> None:
        self._queries.save_circuit(
            connection,
            name=name,
            failures=circuit.failures,
            open_until=circuit.open_until,
            last_error=circuit.last_error,
        )
