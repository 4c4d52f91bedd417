"""Doing it again: rows are replaced, never added."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lake_pipeline.errors import LedgerError, NothingMatched
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, Requeued
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, convert, land, listed, state_of, states

FAILED = FileOutcome(0, "FAILED")
QUARANTINED = FileOutcome(0, "QUARANTINED", error_message="not JSON")


@pytest.fixture
def done(ledger: Ledger) -> str:
    """A committed manifest: a and b succeeded, bad was quarantined, gone failed."""
    land(ledger, "a", "b", "bad", "gone")
    manifest_id = claim(ledger).manifest_id
    convert(ledger, manifest_id, ["p1"], bad=QUARANTINED, gone=FAILED)
    return manifest_id


def test_one_file_with_rows_takes_its_whole_manifest_along(ledger: Ledger, done: str) -> None:
    assert ledger.requeue(DATASET, key="a") == Requeued(files=2, manifests=1)
    assert state_of(ledger, done) == "PLANNED"
    assert states(ledger)["b", "v1"] == "PENDING"
    assert ledger.backlog(DATASET) == []
    assert [file.key for file in ledger.manifest_files(DATASET, done)] == ["a", "b"]
    assert convert(ledger, done, ["p2"]) == ["p1"]
    assert states(ledger)["a", "v1"] == "SUCCEEDED"


def test_a_quarantined_file_goes_into_a_manifest_of_its_own(ledger: Ledger, done: str) -> None:
    assert ledger.requeue(DATASET, key="bad") == Requeued(files=1, manifests=0)
    assert state_of(ledger, done) == "COMMITTED"
    alone = claim(ledger)
    assert [file.key for file in alone.files] == ["bad"]
    assert alone.manifest_id != done


def test_by_status(ledger: Ledger, done: str) -> None:
    assert ledger.requeue(DATASET, status="FAILED") == Requeued(files=1, manifests=0)
    assert ledger.requeue(DATASET, status="QUARANTINED") == Requeued(files=1, manifests=0)
    assert {file.key for file in claim(ledger).files} == {"bad", "gone"}
    assert ledger.requeue(DATASET, status="SUCCEEDED") == Requeued(files=2, manifests=1)
    with pytest.raises(NothingMatched, match="no file with status SUCCEEDED"):
        ledger.requeue(DATASET, status="SUCCEEDED")
    assert state_of(ledger, done) == "PLANNED"


def test_a_whole_manifest_with_what_it_quarantined(ledger: Ledger, done: str) -> None:
    assert ledger.requeue(DATASET, manifest=done) == Requeued(files=3, manifests=1)
    assert [file.key for file in ledger.manifest_files(DATASET, done)] == ["a", "b"]
    assert [file.key for file in claim(ledger).files] == ["bad"]


def test_retries_start_over_and_attempts_count_on(ledger: Ledger) -> None:
    land(ledger, "a")
    manifest_id = claim(ledger).manifest_id
    for _ in range(2):
        ledger.fail_attempt(DATASET, manifest_id, begin(ledger, manifest_id), "no memory")
    assert ledger.due_manifests(DATASET, 10, 1) == []
    assert ledger.requeue(DATASET, status="FAILED") == Requeued(files=1, manifests=1)
    (due,) = ledger.due_manifests(DATASET, 10, 1)
    assert due.next_attempt == 3
    assert [row.retry_count for row in ledger.files(DATASET)] == [0]


def test_what_is_being_converted_is_refused(ledger: Ledger, done: str) -> None:
    begin(ledger, done)
    with pytest.raises(LedgerError, match=f"{done} is being converted"):
        ledger.requeue(DATASET, key="a")
    with pytest.raises(LedgerError, match="is being converted"):
        ledger.requeue(DATASET, manifest=done)
    assert states(ledger)["a", "v1"] == "PROCESSING"


def test_what_a_dead_worker_held_is_not_refused(ledger: Ledger, done: str) -> None:
    begin(ledger, done, "w1", timedelta(0))
    assert ledger.requeue(DATASET, key="a") == Requeued(files=2, manifests=1)
    assert state_of(ledger, done) == "PLANNED"


def test_a_claimed_manifest_is_as_good_as_requeued(ledger: Ledger) -> None:
    land(ledger, "a")
    claimed = claim(ledger).manifest_id
    land(ledger, listed("a", "v2"))
    ledger.requeue(DATASET, key="a")
    assert ledger.claim_manifest(DATASET, "2026/week07", 10, 10**9) is None  # v2 waits for v1
    convert(ledger, claimed)
    convert(ledger, claimed)
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUCCEEDED"}


def test_superseded_versions_stay_superseded(ledger: Ledger) -> None:
    land(ledger, "a")
    land(ledger, listed("a", "v2"))
    manifest_id = claim(ledger).manifest_id
    convert(ledger, manifest_id)
    assert ledger.requeue(DATASET, key="a") == Requeued(files=1, manifests=1)
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "PENDING"}


def test_what_does_not_exist_is_said_not_to(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no file with key zzz"):
        ledger.requeue(DATASET, key="zzz")
    with pytest.raises(LedgerError, match="no file with manifest zzz"):
        ledger.requeue(DATASET, manifest="zzz")
    with pytest.raises(LedgerError, match="no file with key b or c and status FAILED and manifest zzz"):
        ledger.requeue(DATASET, key=["b", "c"], status="FAILED", error_class=None, manifest="zzz")
    with pytest.raises(LedgerError, match="name a key, a status"):
        ledger.requeue(DATASET)
