"""A database that goes away, or breaks off within a commit's round trip: units are done again, and count once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lake_pipeline.errors import LeaseLost, LedgerError, LedgerUnreachable
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, OutputFile, SchemaChange
from lake_pipeline.notices.alerts import Alert
from lake_pipeline.notices.telling import tell_alert
from lake_pipeline_tests.conftest import fresh_database
from lake_pipeline_tests.lakes import lake_of
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, commit, land, listed, outcomes, state_of
from lake_pipeline_tests.postgres_faults import Commit, CutCommit, Outage, PostgresProxy, postgres_proxy
from lake_pipeline_tests.waiting import until

M1, M2 = "2026-week07.0001", "2026-week07.0002"
WINDOW = timedelta(hours=1)
# Numbers that rise where a unit was done twice, names of processes, and times.
PASSING = {
    "id",
    "attempt",
    "engine_attempt",
    "worker",
    "lease_expires_at",
    "discovered_at",
    "claimed_at",
    "processed_at",
}
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
    "register": lambda at, _: at.register(DATASET, [listed("a"), listed("b"), listed("c"), listed("d")], cursor="d"),
    "register unseen": lambda at, _: at.register_unseen(DATASET, [listed("d"), listed("e")]),
    "clear cursor": lambda at, _: at.clear_cursor(DATASET),
    "report": lambda at, _: at.save_report_progress(DATASET, "s3://report", 1, 2),
    # Claimed twice it would be two manifests, with no file in both; here the second one finds nothing.
    "claim": lambda at, _: at.claim_manifest(DATASET, "2026/week07", 3, 10**9, keys=["a", "b", "c"]),
    "begin": lambda at, _: begin(at, M1),
    "engine run": lambda at, by: at.record_engine_run(DATASET, M1, attempt_of(by, M1), "jr_1"),
    "intend": lambda at, by: at.intend_outputs(DATASET, M1, attempt_of(by, M1), [OutputFile("curated/old", 3, 100)]),
    "fail": lambda at, by: at.fail_attempt(DATASET, M1, attempt_of(by, M1), "out of memory"),
    "begin again": lambda at, _: begin(at, M1, "w2"),
    "commit": lambda at, by: commit_all(at, by),
    "forget": lambda at, by: at.forget_outputs(DATASET, by.leftover_outputs(DATASET)),
    "archive": lambda at, by: at.record_archived(
        DATASET, [(file.id, f"archive/{file.key}") for file in by.files_to_archive(DATASET)]
    ),
    "told": lambda at, by: at.record_told(DATASET, by.untold(DATASET, 10)),
    "revive": lambda at, _: at.revive_failed(DATASET, 3, timedelta(0)),
    "new version": lambda at, _: land(at, listed("a", "v2", minute=1)),
    "plan the rest": lambda at, _: at.claim_manifest(DATASET, "2026/week07", 10, 10**9),
    "requeue": lambda at, _: at.requeue(DATASET, manifest=M1),
    "deleted": lambda at, by: at.supersede_deleted(DATASET, list(by.unconverted(DATASET, ["c", "e"])), "gone"),
    "begin the rest": lambda at, _: begin(at, M2, "w3"),
    "reap": lambda at, _: at.reap(DATASET, lambda worker: worker == "w3"),
    "circuit fails": lambda at, _: fail(at),
    "circuit succeeds": lambda at, _: succeed(at),
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
    """Another migrated database."""
    yield from fresh_database(postgres_url, template_database)


@pytest.mark.parametrize("outcome", ["committed", "not committed"])
def test_whatever_became_of_a_commit_without_an_answer_doing_it_again_is_doing_it_once(
    outcome: Commit, undisturbed: list[dict[str, Any]], second_database: str
) -> None:
    with (
        postgres_proxy(second_database) as proxy,
        Ledger.open(proxy.url) as distant,
        Ledger.open(second_database) as at,
    ):
        for (name, step), expected in zip(LIFE.items(), undisturbed, strict=True):
            proxy.faults.append(CutCommit("", outcome))
            step(distant, at)
            assert proxy.faults == [], name
            assert shown(at) == expected, name


def test_a_unit_waits_for_a_database_that_comes_back_and_says_so(
    distant: Ledger, proxy: PostgresProxy, caplog: pytest.LogCaptureFixture
) -> None:
    land(distant, "a")
    proxy.faults.append(Outage("GROUP BY dataset, status", 1.5))

    assert distant.status()[DATASET]["PENDING"] == 1

    assert not proxy.is_away()
    said = [record.getMessage() for record in caplog.records if record.name == "lake_pipeline.ledger.retrying"]
    assert said
    assert all(re.fullmatch(r"status, try \d+, after [\d.]+ s: .*; again in [\d.]+ s", line) for line in said), said


def test_a_database_that_stays_away_is_given_up_after_a_while_with_one_error(proxy: PostgresProxy) -> None:
    with Ledger.open(proxy.url, patience=timedelta(seconds=1)) as distant:
        proxy.go_away(3600)
        with pytest.raises(LedgerUnreachable, match=r"The ledger's database does not answer: "):
            distant.status()


def test_what_the_database_refuses_is_asked_once(
    distant: Ledger, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE lake.manifests RENAME TO gone")
    with pytest.raises(LedgerError, match=r'"lake\.manifests" does not exist') as refused:
        distant.manifests(DATASET)
    assert not isinstance(refused.value, LedgerUnreachable)
    assert [record for record in caplog.records if "retrying" in record.name] == []


def test_two_transactions_in_each_others_way_both_end(distant: Ledger, database_url: str) -> None:
    land(distant, "a")
    claim(distant)
    distant.fail_attempt(DATASET, M1, begin(distant, M1), "no memory")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url, autocommit=True) as other:
        other.execute("BEGIN")
        other.execute("SET LOCAL deadlock_timeout = '1h'")  # the ledger's transaction is the one that is ended
        other.execute("SELECT FROM lake.live_files FOR UPDATE")
        begun = pool.submit(begin, distant, M1)
        waiting = (
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'lake' AND wait_event_type = 'Lock'"
        )
        until(lambda: other.execute(waiting).fetchone() == (True,))
        other.execute("SELECT FROM lake.manifests FOR UPDATE")
        other.execute("COMMIT")
        assert begun.result() == 2
    assert state_of(distant, M1) == "RUNNING"


def test_a_worker_that_was_overtaken_while_the_database_was_away_commits_nothing(
    distant: Ledger, ledger: Ledger, proxy: PostgresProxy
) -> None:
    land(distant, "a")
    claim(distant)
    slow = begin(distant, M1, "w1", timedelta(0))
    files = outcomes(distant, M1)
    proxy.go_away(1)
    assert ledger.reap(DATASET) == 1
    quick = begin(ledger, M1, "w2")

    with pytest.raises(LeaseLost):
        distant.commit_manifest(DATASET, M1, slow, files=files, outputs=[OutputFile("curated/slow", 3, 100)])

    assert commit(ledger, M1, quick, ["curated/quick"]) == []
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["curated/quick"]


@pytest.mark.parametrize("outcome", ["committed", "not committed"])
def test_an_attempt_whose_begin_got_no_answer_costs_none_of_the_manifests_tries(
    outcome: Commit, distant: Ledger, proxy: PostgresProxy
) -> None:
    land(distant, "a")
    claim(distant)
    proxy.faults.append(CutCommit("SET failures", outcome))
    attempt = begin(distant, M1)
    row = distant.manifest(DATASET, M1)
    assert (row.state, row.attempt, row.failures) == ("RUNNING", attempt, 0)


@pytest.mark.parametrize("outcome", ["committed", "not committed"])
def test_an_alert_whose_claim_got_no_answer_is_told(
    outcome: Commit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: PostgresProxy, aws: dict[str, str]
) -> None:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    proxy.faults.append(CutCommit("INSERT INTO lake.alerts", outcome))
    with lake_of(monkeypatch, tmp_path, proxy.url, store=aws["LAKE_STORE"]) as lake:
        tell_alert(lake, "run/1", Alert("a run failed", ("why",)))
        assert not lake.ledger.claim_alert("run/1", WINDOW)
        assert lake.ledger.open_circuits() == {}


def test_every_method_of_the_ledger_is_repeated_or_says_why_not() -> None:
    methods = {name: member for name, member in inspect.getmembers(Ledger, inspect.isfunction) if name[0] != "_"}
    repeated = {name for name, member in methods.items() if hasattr(member, "__wrapped__")}
    blocks = {name for name in methods if inspect.isgeneratorfunction(inspect.unwrap(methods[name]))}
    assert {"register", "commit_manifest", "requeue", "status"} <= repeated - blocks
    # A caller's block cannot be run again: callers of these come again by themselves, or read for a person.
    assert blocks == {
        *("breaker", "catalogue_lock", "notices_lock", "releasing", "sweeping"),
        *("commit_record", "raising_mark", "rebuilding"),
        *("files", "file_metadata", "waiting_files", "set_aside"),
    }
    assert methods.keys() - repeated - blocks == {"heartbeat", "claim_alert", "add_erasure"}
