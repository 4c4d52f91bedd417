"""`retention.file_records`: what the ledger forgets, and what it never does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.errors import LedgerError
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome
from lake_pipeline.progress import finish_interrupted
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, rows, run, states
from lake_pipeline_tests.lakes import land as land_file
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, convert, land, listed
from lake_pipeline_tests.ledger_samples import states as ledger_states
from lake_pipeline_tests.ledgers import make_live

NO_TIME = timedelta(0)
FORGETFUL = EVENTS | {"retention": {"file_records": "0s"}}
ALL_IDS = "select id from events order by id"


def archive(ledger: Ledger, prefix: str = "archive/") -> None:
    ledger.record_archived(DATASET, [(file.id, prefix + file.key) for file in ledger.files_to_archive(DATASET)])


def test_files_are_forgotten_when_their_time_is_over_and_their_outputs_stay(ledger: Ledger) -> None:
    land(ledger, "a", "b")
    manifest_id = claim(ledger).manifest_id
    convert(ledger, manifest_id, ["p1"])
    archive(ledger)
    assert ledger.prune_files(DATASET, timedelta(days=30)) == 0
    assert len(ledger_states(ledger)) == 2

    assert ledger.prune_files(DATASET, NO_TIME) == 2

    assert ledger_states(ledger) == {}
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p1"]
    assert ledger.manifest(DATASET, manifest_id).state == "COMMITTED"


def test_any_number_of_manifests_is_forgotten_at_once(ledger: Ledger) -> None:
    for number in range(45):
        land(ledger, f"f{number}")
        convert(ledger, claim(ledger).manifest_id, [f"p{number}"])
    archive(ledger)
    assert ledger.prune_files(DATASET, NO_TIME) == 45
    assert ledger.prune_files(DATASET, NO_TIME) == 0


def test_a_file_that_a_listing_would_find_again_is_remembered_with_its_whole_manifest(ledger: Ledger) -> None:
    land(ledger, "a", "b")
    convert(ledger, claim(ledger).manifest_id, ["p1"])
    first, _ = ledger.files_to_archive(DATASET)
    ledger.record_archived(DATASET, [(first.id, "archive/a")])
    assert ledger.prune_files(DATASET, NO_TIME) == 0
    archive(ledger)
    assert ledger.prune_files(DATASET, NO_TIME) == 2


def test_quarantined_failed_and_waiting_files_are_remembered(ledger: Ledger) -> None:
    land(ledger, "a", "bad", "gone")
    bad = FileOutcome(0, "QUARANTINED", error_message="not JSON")
    convert(ledger, claim(ledger).manifest_id, ["p1"], bad=bad, gone=FileOutcome(0, "FAILED"))
    land(ledger, "new")
    archive(ledger)
    assert ledger.prune_files(DATASET, NO_TIME) == 1
    assert ledger_states(ledger) == {("bad", "v1"): "QUARANTINED", ("gone", "v1"): "FAILED", ("new", "v1"): "PENDING"}


def test_versions_that_no_manifest_took_are_forgotten_after_the_one_that_took_their_place(ledger: Ledger) -> None:
    land(ledger, "a", "deleted")
    land(ledger, listed("a", "v2", minute=1))
    ledger.supersede_deleted(DATASET, [file.id for file in ledger.files(DATASET, key="deleted")], "gone")
    superseded = {("a", "v1"): "SUPERSEDED", ("deleted", "v1"): "SUPERSEDED"}
    assert ledger_states(ledger) == superseded | {("a", "v2"): "PENDING"}

    assert ledger.prune_files(DATASET, timedelta(days=30)) == 0
    # What was deleted cannot lie in the store; beside a newer version, an older one may lie there again.
    assert ledger.prune_files(DATASET, NO_TIME) == 1
    convert(ledger, claim(ledger).manifest_id, ["p1"])
    assert ledger.prune_files(DATASET, NO_TIME) == 0
    # The newer one was deleted from a versioned bucket.
    assert ledger.register(DATASET, [listed("a", "v1")], etag_now=lambda _: "v1").new == 0
    assert ledger_states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUCCEEDED"}

    archive(ledger)
    assert ledger.prune_files(DATASET, NO_TIME) == 2
    assert ledger_states(ledger) == {}


def test_a_deleted_file_that_was_forgotten_is_a_new_file_when_it_lands_again_as_it_was_before(ledger: Ledger) -> None:
    for forget in (False, True):
        land(ledger, "a")
        assert ledger_states(ledger) == {("a", "v1"): "PENDING"}
        ledger.supersede_deleted(DATASET, [file.id for file in ledger.files(DATASET)], "gone")
        assert ledger.prune_files(DATASET, NO_TIME if forget else timedelta(days=1)) == forget
    land(ledger, "a")
    assert ledger_states(ledger) == {("a", "v1"): "PENDING"}


def test_a_manifest_that_waits_for_a_replay_is_remembered(ledger: Ledger) -> None:
    land(ledger, "a")
    manifest_id = claim(ledger).manifest_id
    convert(ledger, manifest_id, ["p1"])
    archive(ledger)
    land(ledger, listed("a", "v2", minute=1))  # the new version takes the manifest back to PLANNED
    assert ledger.prune_files(DATASET, NO_TIME) == 0
    convert(ledger, manifest_id, ["p2"])
    archive(ledger)
    assert ledger.prune_files(DATASET, NO_TIME) == 2


def test_a_manifest_whose_files_are_forgotten_cannot_be_replayed_into_nothing(ledger: Ledger) -> None:
    land(ledger, "a", "bad")
    manifest_id = claim(ledger).manifest_id
    convert(ledger, manifest_id, ["p1"], bad=FileOutcome(0, "QUARANTINED", error_message="not JSON"))
    archive(ledger)
    ledger.prune_files(DATASET, NO_TIME)
    with pytest.raises(LedgerError, match="were pruned"):
        begin(ledger, manifest_id)
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p1"]
    assert ledger.requeue(DATASET, key="bad").files == 1


def test_raw_files_that_stay_where_they_landed_may_not_be_forgotten() -> None:
    with pytest.raises(ValidationError, match=r"needs archive\.action move"):
        Dataset.model_validate(FORGETFUL | {"archive": {"action": "keep"}})


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, FORGETFUL) as opened:
        yield opened


def test_lake_run_forgets_what_it_may_and_keeps_every_row_once(lake: Lake) -> None:
    land_file(lake, "raw/a.json", event(1), event(2))
    land_file(lake, "raw/empty.json")
    run(lake)
    assert states(lake) == {"raw/a.json": "SUCCEEDED", "raw/empty.json": "QUARANTINED"}

    for _ in range(2):
        assert run(lake) == 0
        assert states(lake) == {"raw/empty.json": "QUARANTINED"}
        assert rows(lake, ALL_IDS) == [("e1",), ("e2",)]


def test_the_reconciling_job_forgets_too(lake: Lake) -> None:
    land_file(lake, "raw/a.json", event(1))
    run(lake)
    job = lake_definitions(list(lake.datasets.values())).resolve_job_def("events_reconcile")
    with open_instance(lake.settings) as instance:
        assert job.execute_in_process(instance=instance).success
    assert states(lake) == {}
    assert rows(lake, ALL_IDS) == [("e1",)]


def test_a_raw_file_that_could_not_be_moved_is_not_ingested_again(lake: Lake) -> None:
    land_file(lake, "raw/a.json", event(1))
    run(lake)
    (file,) = lake.ledger.files("events")
    # As if the process had been killed between the commit and the move.
    make_live(lake.ledger, "events")
    lake.store.move(str(file.archived_key), file.s3_key)
    reset: list[tuple[int, Any]] = [(file.id, None)]
    lake.ledger.record_archived("events", reset)
    assert lake.ledger.prune_files("events", NO_TIME) == 0

    finish_interrupted(lake, lake.datasets["events"])
    assert lake.ledger.prune_files("events", NO_TIME) == 1
    assert run(lake) == 0
    assert rows(lake, ALL_IDS) == [("e1",)]
