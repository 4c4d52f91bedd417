"""Publish, commit, clean: each step may be repeated, and a process killed between two loses nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

from lake_pipeline.engines.task import Task
from lake_pipeline.errors import CheckFailed, ConservationError, LakeError, ReplayIncomplete
from lake_pipeline.failpoints import failpoint
from lake_pipeline.kernel.results import RECORDS, FileResult, Results
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, OutputFile, SchemaChange
from lake_pipeline.ledger.retrying import patiently
from lake_pipeline.recording import record_commits
from lake_pipeline.store import Copy, Store, batched

# The lease, or the lock on the manifest, is looked at before so many copies.
_COPIED_AT_ONCE = 64


def quarantined_records_key(dataset: str, manifest_id: str, attempt: int) -> str:
    return f"quarantine/{dataset}/records/{manifest_id}-a{attempt}.ndjson"


def check_conservation(results: Results) -> None:
    """Every file's rows must be written, quarantined, dropped or erased, and the staged files hold just those written.

    Raises:
        ConservationError: they do not; nothing may be published.
    """
    for file in results.files:
        if not file.is_conserved:
            raise ConservationError(file.account)
    if (expected := sum(file.rows_written for file in results.files)) != results.rows_written:
        raise ConservationError(f"the files' rows are {expected:,}, and the staged files hold {results.rows_written:,}")


def check_blocking(results: Results) -> None:
    """No check that was declared blocking may have failed.

    Raises:
        CheckFailed: one did; the message says which, and shows a row.
    """
    for check in results.checks:
        if check.blocking and not check.passed:
            example = f", such as {json.dumps(check.sample[0], default=str)}" if check.sample else ""
            raise CheckFailed(f"{check.name}: {check.offending:,} rows offend{example}", results.checks)


def check_replay(results: Results, dataset: str, manifest_id: str) -> None:
    """Every file of a manifest that was committed before must be read again: its rows would be gone otherwise.

    Raises:
        ReplayIncomplete: one is gone, was changed, or cannot be read any more.
    """
    if missed := [file for file in results.files if file.status != "SUCCEEDED"]:
        more = f" (and {len(missed) - 1:,} more)" if len(missed) > 1 else ""
        raise ReplayIncomplete(
            f"{missed[0].key}: {missed[0].error_message}{more}; land it again under that key, or a new version of it,"
            f" then `lake run {dataset}` and, if need be, `lake requeue {dataset} --manifest {manifest_id}`"
        )


def publish(task: Task, results: Results, store: Store, ledger: Ledger) -> list[str]:
    """Make a converted manifest the table's: record the outputs, copy them to their names, commit.

    Where one file becomes one file, a name says nothing of the attempt: it gets its content from `release`, after the
    commit. Returns what earlier attempts left under final names; delete it once readers have been told. An attempt that
    fails deletes what it has published, for once it was overtaken nobody else may know of it.

    Raises:
        ConservationError: rows are missing or doubled.
        CheckFailed: a blocking check failed.
        ReplayIncomplete: rows of an earlier commit would be dropped.
        LeaseLost: another attempt has taken over.
        SchemaRaced: another manifest changed the schema meanwhile; convert again.
        ErasureRaced: rows were to be erased meanwhile; convert again.
    """
    check_conservation(results)
    check_blocking(results)
    dataset, manifest_id = task.dataset, task.manifest_id
    before = ledger.manifest(dataset.name, manifest_id)
    if before.committed_at is not None:
        check_replay(results, dataset.name, manifest_id)
    prefix = dataset.output_prefix(before.landing_group)
    outputs = [OutputFile(prefix + file.path, file.rows, file.bytes, file.file_id) for file in results.outputs]
    staged = [task.staging + file.key for file in results.outputs]
    one_to_one = dataset.output.files == "one_to_one"
    if one_to_one:
        outputs = [replace(output, staged_path=path) for output, path in zip(outputs, staged, strict=True)]
    records = quarantined_records_key(dataset.name, manifest_id, task.attempt)
    copies = []
    if not one_to_one:
        ledger.intend_outputs(dataset.name, manifest_id, task.attempt, outputs)
        failpoint("publish.intended")
        copies = [Copy(name, output.path, output.bytes) for name, output in zip(staged, outputs, strict=True)]
    if results.quarantined_records:
        copies.append(Copy(task.staging + RECORDS, records))
    try:
        for some in batched(copies, _COPIED_AT_ONCE):
            ledger.check_attempt(dataset.name, manifest_id, task.attempt)
            store.publish_all(some)
            failpoint("publish.copied")
        failpoint("publish.published")
        leftovers = _commit(task, results, outputs, records if results.quarantined_records else None, ledger)
    except BaseException:
        # The keys carry the attempt, so they are nobody else's; the error's answer may have been that of a commit.
        with suppress(LakeError):
            store.delete(ledger.uncommitted_keys(dataset.name, manifest_id, [copy.target for copy in copies]))
        raise
    # Written down before anything is deleted that only the commit before needs.
    record_commits(dataset.name, store, ledger, manifest_id)
    if before.quarantined_records:
        store.delete([before.quarantined_records])
    if one_to_one:
        release(dataset.name, manifest_id, store, ledger)
        record_commits(dataset.name, store, ledger, manifest_id)
        leftovers = []
    store.delete_prefix(task.staging)
    return leftovers


def _commit(
    task: Task, results: Results, outputs: list[OutputFile], quarantined_records: str | None, ledger: Ledger
) -> list[str]:
    return ledger.commit_manifest(
        task.dataset.name,
        task.manifest_id,
        task.attempt,
        files=[_outcome(file) for file in results.files],
        outputs=outputs,
        schema=_schema_change(results),
        schema_version=results.schema.version or None,
        quarantined_records=quarantined_records,
        metrics={
            "bytes_read": results.bytes_read,
            "seconds": results.seconds,
            "rows_rescued": sum(file.rows_rescued for file in results.files),
            "rows_quarantined": sum(file.rows_quarantined for file in results.files),
            "dropped": results.dropped,
            "rows_erased": sum(file.rows_erased for file in results.files),
            "failed_checks": {check.name: check.offending for check in results.checks if not check.passed},
        },
        newest_erasure=task.newest_erasure,
    )


def release(dataset: str, manifest_id: str, store: Store, ledger: Ledger) -> None:
    """Give a manifest's committed files their names, where one file becomes one file.

    What is copied is what the ledger lists while the manifest is locked, so an attempt that was overtaken can copy
    nothing of its own, and what lies under a name is always some commit's content.
    """
    # Whoever lost the answer finds less to do, or nothing.
    patiently(partial(_release, dataset, manifest_id, store, ledger), "release", ledger.patience)
    failpoint("release.released")


def _release(dataset: str, manifest_id: str, store: Store, ledger: Ledger) -> None:
    with ledger.releasing(dataset, manifest_id) as found:
        for copies in batched(found.copies, _COPIED_AT_ONCE):
            found.check()
            store.publish_all([Copy(*pair) for pair in copies])
            failpoint("release.copied")
        store.delete(found.leftovers)


def clean(dataset: str, leftovers: list[str], store: Store, ledger: Ledger) -> None:
    """Delete what earlier attempts left under final names and the commit does not list."""
    store.delete(leftovers)
    failpoint("clean.deleted")
    ledger.forget_outputs(dataset, leftovers)
    failpoint("clean.cleaned")


def _outcome(file: FileResult) -> FileOutcome:
    fields = vars(file) | {"rows_dropped": file.rows_dropped}
    del fields["key"], fields["dropped"]
    return FileOutcome(**fields)


def _schema_change(results: Results) -> SchemaChange | None:
    if not results.changes:
        return None
    return SchemaChange(results.base_version, results.schema.to_json()["columns"], list(results.changes))
