"""A database that goes away, or breaks off within a commit's round trip: units are done again, and count once."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from lake_pipeline.errors import LeaseLost, LedgerError, LedgerUnreachable
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, OutputFile, SchemaChange
from lake_pipeline_tests.ledger_samples import DATASET, LEASE, begin, claim, commit, land, listed, outcomes, state_of
from lake_pipeline_tests.postgres_faults import Commit, CutCommit, Outage, PostgresProxy, postgres_proxy

M1, M2 = "2026-week07.0001", "2026-week07.0002"
WINDOW = timedelta(hours=1)
# Numbers that rise where a unit was done twice, names of processes, and times.
PASSING = {"id", "attempt", "engine_attempt", "worker", "lease_expires_at", "discovered_at", "claimed_at", "processed_at"}
PASSING |= {"planned_at", "started_at", "committed_at"}


@pytest.fixture
def proxy(database_url: str) -> Iterator[PostgresProxy]:
    """The way to a migrated database; faults are added by the test."""
    with postgres_proxy(database_url) as opened:
        yield opened


@pytest.fixture
def distant(proxy: PostgresProxy) -> Iterator[Ledger]:
    """The ledger by way of the proxy."""
    with Ledger.open(proxy.url) as opened:
        yield opened


def commit_all(at: Ledger, by: Ledger) -> None:
    a, b, c = by.manifest_files(DATASET, M1)
    at.commit_manifest(
        DATASET,
        M1,
        attempt_of(by, M1),
        files=[
            FileOutcome(a.id, "SUCCEEDED", 3, 3),
            FileOutcome(b.id, "QUARANTINED", error_class="Unreadable", error_message="a PNG"),
            FileOutcome(c.id, "FAILED", error_class="ObjectMissing", error_message="gone"),
        ],
        outputs=[OutputFile("curated/a", 3, 100)],
        schema=SchemaChange(0, [{"name": "id", "type": "BIGINT"}], [{"added": "id"}]),
    )


def succeed(ledger: Ledger) -> None:
    with ledger.breaker("sqs"):
        pass


def fail(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.breaker("sqs"):
        raise ZeroDivisionError


def attempt_of(ledger: Ledger, manifest_id: str) -> int:
    return ledger.manifest(DATASET, manifest_id).attempt


# A dataset's life, in steps whose first transaction is the one that counts; `by` is the same ledger, to look things up.
LIFE: dict[str, Callable[[Ledger, Ledger], object]] = {
    "register": lambda at, by: at.register(DATASET, [listed("a"), listed("b"), listed("c"), listed("d")], cursor="d"),
    "register unseen": lambda at, by: at.register_unseen(DATASET, [listed("d"), listed("e")]),
    "clear cursor": lambda at, by: at.clear_cursor(DATASET),
    "report": lambda at, by: at.save_report_progress(DATASET, "s3://report", 1, 2),
    # Claimed twice it would be two manifests, with no file in both; here the second one finds nothing.
    "claim": lambda at, by: at.claim_manifest(DATASET, "2026/week07", 3, 10**9, keys=["a", "b", "c"]),
    "begin": lambda at, by: begin(at, M1),
    "engine run": lambda at, by: at.record_engine_run(DATASET, M1, attempt_of(by, M1), "jr_1"),
    "intend": lambda at, by: at.intend_outputs(DATASET, M1, attempt_of(by, M1), [OutputFile("curated/old", 3, 100)]),
    "fail": lambda at, by: at.fail_attempt(DATASET, M1, attempt_of(by, M1), "out of memory"),
    "begin again": lambda at, by: begin(at, M1, "w2"),
    "commit": lambda at, by: commit_all(at, by),
    "forget": lambda at, by: at.forget_outputs(DATASET, by.leftover_outputs(DATASET)),
    "archive": lambda at, by: at.record_archived(
        DATASET, [(file.id, f"archive/{file.key}") for file in by.files_to_archive(DATASET)]
    ),
    "told": lambda at, by: at.record_told(DATASET, by.untold(DATASET, 10)),
    "revive": lambda at, by: at.revive_failed(DATASET, 3, timedelta(0)),
    "new version": lambda at, by: land(at, listed("a", "v2", minute=1)),
    "plan the rest": lambda at, by: at.claim_manifest(DATASET, "2026/week07", 10, 10**9),
    "requeue": lambda at, by: at.requeue(DATASET, manifest=M1),
    "deleted": lambda at, by: at.supersede_deleted(DATASET, list(by.unconverted(DATASET, ["c", "e"])), "gone"),
    "begin the rest": lambda at, by: begin(at, M2, "w3"),
    "reap": lambda at, by: at.reap(DATASET, lambda worker: worker == "w3"),
    "circuit fails": lambda at, by: fail(at),
    "circuit succeeds": lambda at, by: succeed(at),
    "catalogue": lambda at, by: at.record_catalogue_mark(DATASET, by.commit_mark(DATASET)[-1]),
    "partitions": lambda at, by: at.record_partitions(DATASET, by.changed_partitions(DATASET, 0, [])),
}


def shown(ledger: Ledger) -> dict[str, Any]:
    """All that a ledger says of the dataset, without what may differ."""

    def lasting(row: Any) -> dict[str, Any]:
        return {name: value for name, value in asdict(row).items() if name not in PASSING}

    return {
        "files": [lasting(file) for file in ledger.files(DATASET)],
        "manifests": [lasting(manifest) for manifest in ledger.manifests(DATASET)],
        "outputs": ledger.committed_outputs(DATASET),
        "leftovers": ledger.leftover_outputs(DATASET),
        "schemas": [version.columns for version in ledger.schema_history(DATASET)],
        "circuits": ledger.open_circuits(),
        "untold": [(news.manifest_id, news.planned, news.ended) for news in ledger.untold(DATASET, 10)],
        "to archive": [file.key for file in ledger.files_to_archive(DATASET)],
        "partitions": ledger.changed_partitions(DATASET, 0, []),
    }


@pytest.fixture
def undisturbed(ledger: Ledger) -> list[dict[str, Any]]:
    """What a ledger says after each step of a life in which nothing broke."""
    said = []
    for step in LIFE.values():
        step(ledger, ledger)
        said.append(shown(ledger))
    return said


@pytest.fixture
def second_database(postgres_url: str, template_database: str) -> Iterator[str]:
    from lake_pipeline_tests.conftest import fresh_database

    yield from fresh_database(postgres_url, template_database)


@pytest.mark.parametrize("outcome", ["committed", "not committed"])
def test_whatever_became_of_a_commit_without_an_answer_doing_it_again_is_doing_it_once(
    outcome: Commit, undisturbed: list[dict[str, Any]], second_database: str
) -> None:
    with postgres_proxy(second_database) as proxy, Ledger.open(proxy.url) as distant, Ledger.open(second_database) as at:
        for (name, step), expected in zip(LIFE.items(), undisturbed, strict=True):
            proxy.faults.append(CutCommit("", outcome))
            step(distant, at)
            assert proxy.faults == [], name
            assert shown(at) == expected, name
