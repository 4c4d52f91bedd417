"""The ledger against a model of its protocol: any order of steps, and what must hold after each."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline_tests.protocol import Protocol

SHORT = settings(
    max_examples=2,
    stateful_step_count=10,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=5, stateful_step_count=30)


def test_no_order_of_steps_loses_or_doubles_a_version(ledger: Ledger) -> None:
    check(ledger, SHORT, range(14))


@pytest.mark.slow
def test_no_order_of_many_steps_loses_or_doubles_a_version(ledger: Ledger) -> None:
    check(ledger, LONG, [random.SystemRandom().randrange(2**32) for _ in range(120)])


def check(ledger: Ledger, profile: settings, seeds: Iterable[int]) -> None:
    for seed in seeds:
        walker = type("OnThisLedger", (Protocol,), {"ledger": ledger, "seed": seed})
        run_state_machine_as_test(walker, settings=profile)
