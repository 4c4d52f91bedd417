"""The ledger against a model of its protocol: any order of steps, and what must hold after each."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline_tests.protocol import Protocol

SHORT = settings(
    max_examples=40,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=400, stateful_step_count=50, derandomize=False, print_blob=True)


def test_no_order_of_steps_loses_or_doubles_a_version(ledger: Ledger) -> None:
    check(ledger, SHORT)


@pytest.mark.slow
def test_no_order_of_many_steps_loses_or_doubles_a_version(ledger: Ledger) -> None:
    check(ledger, LONG)


def check(ledger: Ledger, profile: settings) -> None:
    class OnThisLedger(Protocol):
        pass

    OnThisLedger.ledger = ledger
    run_state_machine_as_test(OnThisLedger, settings=profile)
