"""The circuit breaker: when a failing service is left alone, and how it is tried again."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.circuit import FIRST_WAIT, LONGEST_WAIT, THRESHOLD, Circuit
from lake_pipeline.errors import CircuitOpen
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline_tests.command_line import lake_command
from lake_pipeline_tests.lakes import EVENTS

NOW = datetime(2026, 2, 1, tzinfo=UTC)


class Down(Exception):
    pass


def broken(failures: int, *, jitter: float = 1.0) -> Circuit:
    circuit = Circuit()
    for _ in range(failures):
        circuit = circuit.failed(NOW, "down", jitter)
    return circuit


def test_it_opens_after_so_many_failures_in_a_row_and_not_before() -> None:
    assert broken(THRESHOLD - 1).state(NOW) == "closed"
    assert broken(THRESHOLD).state(NOW) == "open"
    assert broken(THRESHOLD).state(NOW + FIRST_WAIT) == "half-open"


def test_its_wait_doubles_with_every_failed_trial_up_to_the_longest() -> None:
    waits = [(broken(THRESHOLD + trials).open_until or NOW) - NOW for trials in range(40)]
    assert waits[:4] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT]
    assert set(waits[6:]) == {LONGEST_WAIT}


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_jitter_spreads_a_wait_over_its_second_half(trials: int, jitter: float) -> None:
    circuit = Circuit(THRESHOLD - 1 + trials).failed(NOW, "down", jitter)
    longest = Circuit(THRESHOLD - 1 + trials).failed(NOW, "down", 1).open_until
    assert circuit.open_until is not None
    assert longest is not None
    assert (longest - NOW) / 2 <= circuit.open_until - NOW <= longest - NOW <= LONGEST_WAIT


def fail(ledger: Ledger, times: int, name: str = "sqs") -> None:
    for _ in range(times):
        with pytest.raises(Down), ledger.breaker(name):
            raise Down("connection refused")


def wait_over(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE lake.circuits SET open_until = now()")


def test_a_service_that_keeps_failing_is_not_called_by_any_process(ledger: Ledger, database_url: str) -> None:
    fail(ledger, THRESHOLD)
    with Ledger.open(database_url) as other:  # as another process would
        called = False
        with (
            pytest.raises(CircuitOpen, match=r"sqs, after 5 failures in a row.* Down: connection refused"),
            other.breaker("sqs"),
        ):
            called = True
        assert not called
        with other.breaker("glue"):  # its neighbours are
            called = True
        assert called


def test_one_success_forgets_the_failures_before_it(ledger: Ledger) -> None:
    fail(ledger, THRESHOLD - 1)
    with ledger.breaker("sqs"):
        pass
    fail(ledger, THRESHOLD - 1)
    with ledger.breaker("sqs"):
        pass
    assert ledger.open_circuits() == {}


def test_after_the_wait_one_caller_tries_and_the_others_still_wait(ledger: Ledger, database_url: str) -> None:
    fail(ledger, THRESHOLD)
    wait_over(database_url)
    trying, tried = threading.Event(), threading.Event()

    def trial() -> None:
        with ledger.breaker("sqs"):
            trying.set()
            tried.wait(30)

    thread = threading.Thread(target=trial)
    thread.start()
    assert trying.wait(30)
    with pytest.raises(CircuitOpen), ledger.breaker("sqs"):
        pass
    tried.set()
    thread.join()
    with ledger.breaker("sqs"):
        pass


def test_a_trial_that_fails_doubles_the_wait(ledger: Ledger, database_url: str) -> None:
    fail(ledger, THRESHOLD)
    wait_over(database_url)
    before = datetime.now(UTC)
    fail(ledger, 1)
    circuit = ledger.open_circuits()["sqs"]
    assert circuit.failures == THRESHOLD + 1
    assert circuit.open_until is not None
    assert circuit.open_until - before > FIRST_WAIT - timedelta(seconds=1)


def test_a_trial_whose_process_was_killed_is_taken_by_another(ledger: Ledger, database_url: str) -> None:
    fail(ledger, THRESHOLD)
    wait_over(database_url)
    abandoned = ledger.breaker("sqs")
    abandoned.__enter__()  # and never left
    with pytest.raises(CircuitOpen), ledger.breaker("sqs"):
        pass
    wait_over(database_url)
    with ledger.breaker("sqs"):
        pass


def test_ctrl_c_is_no_failure_of_the_service(ledger: Ledger) -> None:
    for _ in range(THRESHOLD):
        with pytest.raises(KeyboardInterrupt), ledger.breaker("sqs"):
            raise KeyboardInterrupt
    assert ledger.open_circuits() == {}


def test_status_says_which_service_is_left_alone(ledger: Ledger, database_url: str, tmp_path: Path) -> None:
    fail(ledger, THRESHOLD)
    told = lake_command(tmp_path / "home", database_url, EVENTS)("status").stderr
    assert "sqs is left alone until 20" in told
    assert "5 failures in a row, the last Down: connection refused" in told
