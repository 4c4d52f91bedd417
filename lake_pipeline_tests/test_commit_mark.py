"""The mark by which a catalogue knows whether it shows what is to be seen: it changes with commits and releases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg
import pytest

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, commit, convert, land, listed, outcomes
from lake_pipeline_tests.waiting import until


def committed_at(ledger: Ledger, manifest_id: str) -> datetime:
    found = ledger.manifest(DATASET, manifest_id).committed_at
    assert found is not None
    return found


def test_a_commit_that_is_overtaken_by_another_changes_the_mark_all_the_same(ledger: Ledger, database_url: str) -> None:
    land(ledger, listed("a", group="one"), listed("b", group="two"))
    slow, quick = claim(ledger, "one").manifest_id, claim(ledger, "two").manifest_id
    begun = {manifest: begin(ledger, manifest) for manifest in (slow, quick)}
    land(ledger, listed("a", "v2", group="one"))
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(database_url, autocommit=True) as observer,
        psycopg.connect(database_url) as holder,
    ):
        # What a commit does last is to give the waiting version its place.
        holder.execute("SELECT FROM lake.live_files WHERE etag = 'v2' FOR UPDATE")
        waiting = pool.submit(commit, ledger, slow, begun[slow], ["p1"])
        waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        until(lambda: observer.execute(waits).rowcount == 1)
        commit(ledger, quick, begun[quick], ["p2"])
        shown = ledger.commit_mark(DATASET)
        assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p2"]
        holder.rollback()
        waiting.result()

    assert committed_at(ledger, slow) < committed_at(ledger, quick)
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p1", "p2"]
    assert ledger.commit_mark(DATASET) != shown


def test_a_release_changes_the_mark_once_and_one_that_failed_does_not(ledger: Ledger) -> None:
    land(ledger, "a")
    manifest = claim(ledger).manifest_id
    outputs = [OutputFile("p1", 3, 100, staged_path="staged")]
    files = outcomes(ledger, manifest)
    ledger.commit_manifest(DATASET, manifest, begin(ledger, manifest), files=files, outputs=outputs)
    marks = [ledger.commit_mark(DATASET)]
    with pytest.raises(OSError, match="the store is away"), ledger.releasing(DATASET, manifest):
        raise OSError("the store is away")
    marks.append(ledger.commit_mark(DATASET))
    for _ in range(2):
        with ledger.releasing(DATASET, manifest):
            pass
        marks.append(ledger.commit_mark(DATASET))

    assert marks[0] == marks[1] != marks[2] == marks[3]


def test_before_the_first_commit_the_mark_is_empty_and_a_replay_changes_it(ledger: Ledger) -> None:
    land(ledger, "a")
    manifest = claim(ledger).manifest_id
    marks = [ledger.commit_mark(DATASET)]
    for _ in range(2):
        convert(ledger, manifest, ["p1"])
        marks.append(ledger.commit_mark(DATASET))
        ledger.requeue(DATASET, manifest=manifest)
        assert ledger.commit_mark(DATASET) == marks[-1]

    assert marks[0] == ""
    assert len(set(marks)) == 3
