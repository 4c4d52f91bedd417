"""An attempt's life: leases, fences, commits and failures."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lake_pipeline.errors import LeaseLost, LedgerError, SchemaRaced
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, OutputFile, SchemaChange
from lake_pipeline_tests.ledger_samples import (
    DATASET,
    LEASE,
    begin,
    claim,
    commit,
    convert,
    land,
    listed,
    outcomes,
    state_of,
    states,
)

NO_LEASE = timedelta(0)


@pytest.fixture
def planned(ledger: Ledger) -> str:
    """A manifest of the files a, b and c."""
    land(ledger, "a", "b", "c")
    return claim(ledger).manifest_id


def due(ledger: Ledger, max_retries: int = 3) -> list[tuple[str, int]]:
    return [(item.manifest_id, item.next_attempt) for item in ledger.due_manifests(DATASET, 10, max_retries)]


def test_an_attempt_commits_files_outputs_and_manifest_together(ledger: Ledger, planned: str) -> None:
    attempt = begin(ledger, planned)
    assert attempt == 1
    ledger.record_engine_run(DATASET, planned, attempt, "jr_1")
    a, b, c = ledger.manifest_files(DATASET, planned)
    leftovers = ledger.commit_manifest(
        DATASET,
        planned,
        attempt,
        files=[
            FileOutcome(a.id, "SUCCEEDED", 10, 9, 2, 1),
            FileOutcome(b.id, "QUARANTINED", error_class="Unreadable", error_message="a PNG"),
            FileOutcome(c.id, "FAILED", error_class="ObjectMissing", error_message="gone"),
        ],
        outputs=[OutputFile("curated/p.parquet", 9, 1234)],
        schema=SchemaChange(0, [{"name": "id", "type": "BIGINT"}], [{"added": "id"}]),
        metrics={"seconds": 1.5},
    )
    assert leftovers == []
    rows = {row.s3_key: row for row in ledger.files(DATASET)}
    assert (rows["a"].status, rows["a"].rows_read, rows["a"].rows_written) == ("SUCCEEDED", 10, 9)
    assert (rows["a"].rows_rescued, rows["a"].rows_quarantined, rows["a"].glue_job_run_id) == (2, 1, "jr_1")
    assert rows["a"].processed_at is not None
    assert (rows["b"].status, rows["b"].error_message, rows["b"].manifest_id) == ("QUARANTINED", "a PNG", planned)
    assert (rows["c"].status, rows["c"].retry_count, rows["c"].manifest_id) == ("FAILED", 1, None)
    manifest = ledger.manifest(DATASET, planned)
    assert (manifest.state, manifest.schema_version, manifest.metrics) == ("COMMITTED", 1, {"seconds": 1.5})
    assert ledger.committed_outputs(DATASET) == [OutputFile("curated/p.parquet", 9, 1234)]
    assert due(ledger) == []


def engine_run(ledger: Ledger, manifest_id: str) -> tuple[str | None, int | None]:
    manifest = ledger.manifest(DATASET, manifest_id)
    return manifest.engine_run_id, manifest.engine_attempt


def test_the_run_of_a_worker_that_was_killed_is_left_to_the_next_attempt(ledger: Ledger, planned: str) -> None:
    first = begin(ledger, planned, "w1", NO_LEASE)
    ledger.record_engine_run(DATASET, planned, first, None)
    assert engine_run(ledger, planned) == (None, 1)
    ledger.record_engine_run(DATASET, planned, first, "jr_1")
    ledger.reap(DATASET)
    assert engine_run(ledger, planned) == ("jr_1", 1)

    second = begin(ledger, planned, "w2")
    assert engine_run(ledger, planned) == ("jr_1", 1)

    ledger.record_engine_run(DATASET, planned, second, "jr_1", engine_attempt=first)
    assert engine_run(ledger, planned) == ("jr_1", 1)
    assert {row.glue_job_run_id for row in ledger.files(DATASET)} == {"jr_1"}
    ledger.record_engine_run(DATASET, planned, second, "jr_1")
    commit(ledger, planned, second)
    assert engine_run(ledger, planned) == ("jr_1", None)


def test_a_run_that_another_engine_took_over_from_has_no_part_in_the_rows(ledger: Ledger, planned: str) -> None:
    ledger.record_engine_run(DATASET, planned, begin(ledger, planned, "w1", NO_LEASE), "jr_1")
    commit(ledger, planned, begin(ledger, planned, "w2"))
    assert engine_run(ledger, planned) == (None, None)


@pytest.mark.parametrize(("run_goes_on", "known"), [(False, None), (True, 1)])
def test_a_failed_attempts_run_is_settled_by_the_next_where_it_may_go_on(
    ledger: Ledger, planned: str, run_goes_on: bool, known: int | None
) -> None:
    attempt = begin(ledger, planned)
    ledger.record_engine_run(DATASET, planned, attempt, "jr_1")
    ledger.fail_attempt(DATASET, planned, attempt, "interrupted", run_goes_on=run_goes_on)
    assert engine_run(ledger, planned) == ("jr_1", known)


def test_a_live_lease_keeps_others_out(ledger: Ledger, planned: str) -> None:
    begin(ledger, planned, "w1")
    with pytest.raises(LeaseLost, match="w1 is under way"):
        begin(ledger, planned, "w2")
    assert begin(ledger, planned, "w1") == 2


def test_a_worker_that_was_taken_over_may_do_nothing_more(ledger: Ledger, planned: str) -> None:
    lost = begin(ledger, planned, "w1", NO_LEASE)
    held = begin(ledger, planned, "w2")
    outputs = [OutputFile("p", 1, 1)]
    with pytest.raises(LeaseLost):
        ledger.heartbeat(DATASET, planned, lost, LEASE)
    with pytest.raises(LeaseLost):
        ledger.intend_outputs(DATASET, planned, lost, outputs)
    with pytest.raises(LeaseLost):
        ledger.record_engine_run(DATASET, planned, lost, "jr")
    with pytest.raises(LeaseLost):
        ledger.fail_attempt(DATASET, planned, lost, "late")
    with pytest.raises(LeaseLost, match="attempt 2 of w2"):
        commit(ledger, planned, lost)
    ledger.heartbeat(DATASET, planned, held, LEASE)
    commit(ledger, planned, held)
    assert state_of(ledger, planned) == "COMMITTED"


def test_an_attempt_that_is_given_back_is_due_at_once_and_counts_as_no_failure(ledger: Ledger, planned: str) -> None:
    ledger.fail_attempt(DATASET, planned, begin(ledger, planned), "out of memory")
    attempt = begin(ledger, planned)
    ledger.record_engine_run(DATASET, planned, attempt, "jr_1")
    ledger.release_attempt(DATASET, planned, attempt)
    manifest = ledger.manifest(DATASET, planned)
    assert (manifest.state, manifest.failures, manifest.worker, manifest.lease_expires_at) == ("PLANNED", 1, None, None)
    assert {(row.status, row.retry_count, row.manifest_id) for row in ledger.files(DATASET)} == {
        ("PENDING", 1, planned)
    }
    assert engine_run(ledger, planned) == ("jr_1", attempt), "what goes on there is the next one's to settle"
    assert due(ledger) == [(planned, 3)]
    assert ledger.invariant_violations(DATASET) == []
    with pytest.raises(LeaseLost):
        commit(ledger, planned, attempt)
    convert(ledger, planned, ["p"])
    assert set(states(ledger).values()) == {"SUCCEEDED"}


def test_a_new_version_of_what_is_given_back_takes_its_place(ledger: Ledger, planned: str) -> None:
    convert(ledger, planned)
    attempt = begin(ledger, planned)
    land(ledger, listed("a", "v2", minute=1))
    assert states(ledger)["a", "v2"] == "PENDING"
    ledger.release_attempt(DATASET, planned, attempt)
    assert {row.manifest_id for row in ledger.files(DATASET, key="a")} == {planned}
    # Its rows are in the lake until the new version's are.
    assert (states(ledger)["a", "v1"], states(ledger)["a", "v2"]) == ("PENDING", "PENDING")
    assert ledger.backlog(DATASET) == []
    convert(ledger, planned)
    assert states(ledger)["a", "v1"] == "SUPERSEDED"
    assert {key: state for key, state in states(ledger).items() if state != "SUPERSEDED"} == {
        ("a", "v2"): "SUCCEEDED",
        ("b", "v1"): "SUCCEEDED",
        ("c", "v1"): "SUCCEEDED",
    }


def test_who_stands_still_in_a_transaction_is_put_out_by_the_server(ledger: Ledger) -> None:
    asked = "SHOW idle_in_transaction_session_timeout"
    for transaction in (ledger._working, ledger._writing):
        with transaction(DATASET) as connection:
            assert connection.execute(asked).fetchone() == ("2min",)
        with ledger._transaction() as connection:
            assert connection.execute(asked).fetchone() == ("0",)


def test_a_heartbeat_keeps_the_lease(ledger: Ledger, planned: str) -> None:
    attempt = begin(ledger, planned, "w1", NO_LEASE)
    ledger.heartbeat(DATASET, planned, attempt, LEASE)
    with pytest.raises(LeaseLost):
        begin(ledger, planned, "w2")
    assert due(ledger) == []


def test_a_dead_workers_manifest_is_due_again_until_retries_run_out(ledger: Ledger, planned: str) -> None:
    for attempt in (1, 2, 3):
        assert due(ledger, max_retries=2) == [(planned, attempt)]
        begin(ledger, planned, f"w{attempt}", NO_LEASE)
    assert due(ledger, max_retries=2) == []
    manifest = ledger.manifest(DATASET, planned)
    assert (manifest.state, manifest.error_message) == ("FAILED", "worker w3 stopped renewing its lease")
    assert set(states(ledger).values()) == {"FAILED"}
    assert ledger.pending_work(DATASET, 2).done


def test_a_failed_attempt_keeps_its_files_and_is_tried_again(ledger: Ledger, planned: str) -> None:
    ledger.fail_attempt(DATASET, planned, begin(ledger, planned), "out of memory\0")
    rows = list(ledger.files(DATASET))
    assert {(row.status, row.retry_count, row.manifest_id) for row in rows} == {("FAILED", 1, planned)}
    assert {row.error_message for row in rows} == {"out of memory\\0"}
    assert ledger.backlog(DATASET) == []
    assert ledger.revive_failed(DATASET, 3, timedelta(0)) == 0
    assert due(ledger) == [(planned, 2)]
    convert(ledger, planned)
    assert {(row.status, row.error_message) for row in ledger.files(DATASET)} == {("SUCCEEDED", None)}


def test_every_file_must_have_an_outcome_and_no_other_may(ledger: Ledger, planned: str) -> None:
    attempt = begin(ledger, planned)
    files = outcomes(ledger, planned)
    with pytest.raises(LedgerError, match="1 of its files have no outcome"):
        ledger.commit_manifest(DATASET, planned, attempt, files=files[1:], outputs=[])
    with pytest.raises(LedgerError, match="1 outcomes are of files that it is not converting"):
        ledger.commit_manifest(DATASET, planned, attempt, files=[*files, FileOutcome(10**6, "SUCCEEDED")], outputs=[])
    assert set(states(ledger).values()) == {"PROCESSING"}


def test_a_commit_whose_answer_was_lost_may_be_repeated(ledger: Ledger, planned: str) -> None:
    attempt = begin(ledger, planned)
    ledger.intend_outputs(DATASET, planned, attempt, [OutputFile("left", 1, 1), OutputFile("p", 3, 1)])
    files = outcomes(ledger, planned)
    for _ in range(2):
        leftovers = ledger.commit_manifest(
            DATASET, planned, attempt, files=files, outputs=[OutputFile("p", 3, 1)], schema=None
        )
        assert leftovers == ["left"]


def test_a_commit_returns_what_earlier_attempts_left(ledger: Ledger, planned: str) -> None:
    killed = begin(ledger, planned, "w1", NO_LEASE)
    ledger.intend_outputs(DATASET, planned, killed, [OutputFile("1/x", 1, 1), OutputFile("same", 1, 1)])
    attempt = begin(ledger, planned, "w2")
    ledger.intend_outputs(DATASET, planned, attempt, [OutputFile("2/x", 2, 2), OutputFile("same", 2, 2)])
    assert ledger.leftover_outputs(DATASET) == []  # they may be this attempt's
    assert commit(ledger, planned, attempt, ["2/x", "same"]) == ["1/x"]
    assert ledger.leftover_outputs(DATASET) == ["1/x"]
    ledger.forget_outputs(DATASET, ["1/x", "same"])
    assert ledger.leftover_outputs(DATASET) == []
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["2/x", "same"]


def test_outputs_stay_committed_while_a_replay_is_under_way(ledger: Ledger, planned: str) -> None:
    convert(ledger, planned, ["p", "q"])
    attempt = begin(ledger, planned)
    ledger.intend_outputs(DATASET, planned, attempt, [OutputFile("p", 9, 9)])
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p", "q"]
    assert commit(ledger, planned, attempt, ["p"]) == ["q"]


def test_two_manifests_may_not_write_one_output(ledger: Ledger, planned: str) -> None:
    convert(ledger, planned, ["p"])
    land(ledger, "d")
    other = claim(ledger).manifest_id
    with pytest.raises(LedgerError, match="another manifest's"):
        ledger.intend_outputs(DATASET, other, begin(ledger, other), [OutputFile("p", 1, 1)])


def test_of_two_manifests_that_change_the_schema_the_second_converts_again(ledger: Ledger, planned: str) -> None:
    land(ledger, "d")
    other = claim(ledger).manifest_id
    attempts = {manifest: begin(ledger, manifest) for manifest in (planned, other)}

    def commit_schema(manifest: str, expected: int, columns: list[str]) -> None:
        files, change = outcomes(ledger, manifest), SchemaChange(expected, columns, ["+" + columns[-1]])
        ledger.commit_manifest(DATASET, manifest, attempts[manifest], files=files, outputs=[], schema=change)

    commit_schema(planned, 0, ["id"])
    with pytest.raises(SchemaRaced, match="past version 0"):
        commit_schema(other, 0, ["name"])
    assert state_of(ledger, other) == "RUNNING"
    commit_schema(other, 1, ["id", "name"])
    newest = ledger.schema(DATASET)
    assert newest is not None
    assert (newest.version, newest.columns, newest.manifest_id) == (2, ["id", "name"], other)
    assert [version.changes for version in ledger.schema_history(DATASET)] == [["+id"], ["+name"]]
    assert ledger.schema("nothing") is None


def test_a_committed_manifest_may_be_converted_again(ledger: Ledger, planned: str) -> None:
    convert(ledger, planned, ["p1"])
    assert convert(ledger, planned, ["p2"]) == ["p1"]
    assert set(states(ledger).values()) == {"SUCCEEDED"}
    assert ledger.manifest(DATASET, planned).attempt == 2


def test_an_archived_file_is_read_where_it_lies(ledger: Ledger, planned: str) -> None:
    convert(ledger, planned, b=FileOutcome(0, "QUARANTINED"), c=FileOutcome(0, "FAILED"))
    to_archive = ledger.files_to_archive(DATASET, planned)
    assert [(file.key, file.status, file.location) for file in to_archive] == [
        ("a", "SUCCEEDED", "a"),
        ("b", "QUARANTINED", "b"),
    ]
    assert ledger.files_to_archive(DATASET) == to_archive
    a, b = to_archive
    ledger.record_archived(DATASET, [(a.id, "archive/a"), (b.id, "quarantine/events/files/b")])
    assert ledger.files_to_archive(DATASET) == []
    assert [file.location for file in ledger.manifest_files(DATASET, planned)] == ["archive/a"]


def test_a_quarantined_file_that_is_converted_after_all_is_archived_from_quarantine(ledger: Ledger) -> None:
    land(ledger, "a")
    first = claim(ledger).manifest_id
    convert(ledger, first, a=FileOutcome(0, "QUARANTINED"))
    (file,) = ledger.files_to_archive(DATASET, first)
    ledger.record_archived(DATASET, [(file.id, "quarantine/events/files/a")])
    ledger.requeue(DATASET, key="a")
    second = claim(ledger)
    assert [file.location for file in second.files] == ["quarantine/events/files/a"]
    convert(ledger, second.manifest_id)
    assert [file.location for file in ledger.files_to_archive(DATASET)] == ["quarantine/events/files/a"]


def test_an_unknown_manifest_is_said_to_be_unknown(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"events has no manifest nope\.0001"):
        begin(ledger, "nope.0001")
    with pytest.raises(LedgerError, match=r"events has no manifest nope\.0001"):
        ledger.manifest(DATASET, "nope.0001")


def test_the_record_of_a_file_lists_the_outputs_that_it_shares_with_others(ledger: Ledger, planned: str) -> None:
    attempt = begin(ledger, planned)
    a, b, c = ledger.manifest_files(DATASET, planned)
    ledger.commit_manifest(
        DATASET,
        planned,
        attempt,
        files=[
            FileOutcome(a.id, "SUCCEEDED", 10, 10),
            FileOutcome(b.id, "QUARANTINED", error_class="Unreadable", error_message="a PNG"),
            FileOutcome(c.id, "SUCCEEDED"),
        ],
        outputs=[OutputFile("p2", 4, 1), OutputFile("p1", 6, 1)],
    )
    records = {record.source_path: record for record in ledger.file_metadata(DATASET)}
    assert {key: record.output_paths for key, record in records.items()} == {"a": ["p1", "p2"], "b": None, "c": None}
    assert (records["a"].record_count, records["b"].error_message) == (10, "a PNG")
