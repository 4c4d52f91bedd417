"""The ledger's part in converting a manifest: lease, heartbeat, commit, failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from lake_pipeline import workers
from lake_pipeline.errors import ErasureRaced, LeaseLost, LedgerError, SchemaRaced
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.connection import Connection, LedgerConnection
from lake_pipeline.ledger.messages import postgres_text
from lake_pipeline.ledger.models import DueManifest, FileOutcome, OutputFile, SchemaChange
from lake_pipeline.ledger.retrying import once
from lake_pipeline.manifests import ManifestFile


class AttemptLedger(LedgerConnection):
    """Attempts at manifests. An attempt that was taken over may do nothing more: LeaseLost."""

    def due_manifests(
        self, dataset: str, limit: int, max_retries: int, *, keys: list[str] | None = None
    ) -> list[DueManifest]:
        """Manifests to begin, oldest first: planned ones, failed ones with retries left, those of dead workers.

        With `keys`, only those that hold one of these keys.
        """
        self.reap(dataset)
        with self._transaction() as connection:
            return list(
                self._queries.due_manifests(
                    connection, dataset=dataset, max_retries=max_retries, max_manifests=limit, keys=keys
                )
            )

    def reap(self, dataset: str, is_dead: Callable[[str], bool] = workers.is_dead) -> int:
        """Fail the attempts whose lease has run out or whose worker is known to be dead; how many those were."""
        reaped = 0
        with self._working(dataset) as connection:
            for manifest_id, worker, expired in list(self._queries.running_manifests(connection, dataset=dataset)):
                if expired or is_dead(worker):
                    why = "stopped renewing its lease" if expired else "died"
                    self._fail(connection, dataset, manifest_id, f"worker {worker} {why}")
                    reaped += 1
        return reaped

    def begin_attempt(self, dataset: str, manifest_id: str, worker: str, lease: timedelta) -> int:
        """Take a manifest, in whatever state it is, and return the attempt's number.

        A worker may take over from itself, as it does where the answer to its first try was lost. Files may have
        changed since they were planned: read `manifest_files`.

        Raises:
            LeaseLost: another worker holds it.
            LedgerError: the records of its files were pruned, so an attempt would replace its rows with none.
        """
        with self._working(dataset) as connection:
            found = self._queries.lock_manifest(connection, dataset=dataset, manifest_id=manifest_id)
            if found is None:
                raise LedgerError(f"{dataset} has no manifest {manifest_id}")
            state, attempt, holder, leased = found
            if state == "RUNNING" and leased and holder != worker:
                raise LeaseLost(f"{dataset} {manifest_id}: attempt {attempt} of {holder} is under way")
            if self._queries.is_pruned(connection, dataset=dataset, manifest_id=manifest_id):
                raise LedgerError(
                    f"{dataset} {manifest_id}: the records of its files were pruned (retention.file_records), so its"
                    " rows cannot be made again"
                )
            self._unsettle(connection, dataset, manifest_ids=[manifest_id])
            begun: int = self._queries.begin_attempt(
                connection, dataset=dataset, manifest_id=manifest_id, worker=worker, lease=lease
            )
            self._queries.begin_files(connection, dataset=dataset, manifest_id=manifest_id)
            return begun

    def manifest_files(self, dataset: str, manifest_id: str) -> list[ManifestFile]:
        """The files that an attempt converts: the newest version of each key, without quarantined ones."""
        with self._transaction() as connection:
            return list(self._queries.manifest_files(connection, dataset=dataset, manifest_id=manifest_id))

    @once  # it is called again anyway, and whoever ends the attempt waits for it
    def heartbeat(self, dataset: str, manifest_id: str, attempt: int, lease: timedelta) -> None:
        """Renew the lease."""
        with self._transaction() as connection:
            if not self._queries.heartbeat(
                connection, dataset=dataset, manifest_id=manifest_id, attempt=attempt, lease=lease
            ):
                raise LeaseLost(f"{dataset} {manifest_id} attempt {attempt}")

    def record_engine_run(
        self, dataset: str, manifest_id: str, attempt: int, run_id: str | None, *, engine_attempt: int | None = None
    ) -> None:
        """Remember what the engine calls the run that works for this attempt; None: it is about to be started.

        `engine_attempt` is the attempt whose staging the run writes, where it was an earlier one that started it.
        """
        with self._working(dataset) as connection:
            self._hold(connection, dataset, manifest_id, attempt)
            this = {"dataset": dataset, "manifest_id": manifest_id, "run_id": run_id}
            self._queries.record_engine_run(connection, **this, engine_attempt=engine_attempt or attempt)
            self._queries.record_files_run(connection, **this)

    def intend_outputs(self, dataset: str, manifest_id: str, attempt: int, outputs: Sequence[OutputFile]) -> None:
        """Record curated files before they are published, so that none is ever forgotten."""
        with self._working(dataset) as connection:
            self._hold(connection, dataset, manifest_id, attempt)
            self._write_outputs(connection, self._queries.intend_outputs, dataset, manifest_id, attempt, outputs)

    def check_attempt(self, dataset: str, manifest_id: str, attempt: int) -> None:
        """LeaseLost if another attempt has taken over."""
        with self._working(dataset) as connection:
            self._hold(connection, dataset, manifest_id, attempt)

    def uncommitted_keys(self, dataset: str, manifest_id: str, keys: Sequence[str]) -> list[str]:
        """Those of the keys that an attempt wrote, outputs or records set aside, that the manifest's commit lists not.

        A commit under way, whose answer may have been lost, is awaited.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._working(dataset) as connection:
            self._queries.lock_manifest(connection, **this)
            return [key for (key,) in self._queries.uncommitted_keys(connection, **this, keys=list(keys))]

    def commit_manifest(
        self,
        dataset: str,
        manifest_id: str,
        attempt: int,
        *,
        files: Sequence[FileOutcome],
        outputs: Sequence[OutputFile],
        schema: SchemaChange | None = None,
        schema_version: int | None = None,
        quarantined_records: str | None = None,
        metrics: dict[str, Any] | None = None,
        newest_erasure: int = 0,
    ) -> list[str]:
        """Make an attempt's rows the manifest's rows, all or nothing.

        `schema_version` is the one converted with, where the attempt changes nothing of it; `quarantined_records` the
        key of the document with the records set aside; `newest_erasure` the last request to erase rows that the attempt
        knows of. Returns paths that earlier attempts may have left in the store;
        delete them, then `forget_outputs`.

        Raises:
            LeaseLost: another attempt has taken over.
            SchemaRaced: the schema is not of the expected version any more; nothing was committed.
            ErasureRaced: rows of the dataset were to be erased meanwhile; nothing was committed.
            LedgerError: not every file of the manifest has an outcome.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._working(dataset) as connection:
            # Whoever lost the answer to a commit may ask again.
            if (self._queries.lock_manifest(connection, **this) or ())[:2] != ("COMMITTED", attempt):
                self._hold(connection, dataset, manifest_id, attempt)
                if (newest := self._queries.newest_erasure(connection, dataset=dataset)) != newest_erasure:
                    raise ErasureRaced(f"{dataset} {manifest_id}: erasure {newest}")
                self._commit(
                    connection,
                    this,
                    attempt,
                    files,
                    outputs,
                    schema,
                    schema_version=schema_version,
                    quarantined_records=quarantined_records,
                    metrics=Jsonb(metrics or {}),
                )
            leftovers = [path for (path,) in self._queries.manifest_leftovers(connection, **this)]
            failpoint("commit.committing")
        failpoint("commit.committed")
        return leftovers

    def fail_attempt(
        self, dataset: str, manifest_id: str, attempt: int, error_message: str, *, run_goes_on: bool = False
    ) -> None:
        """The attempt failed as a whole; its files stay in the manifest.

        `run_goes_on`: the engine's run may not have ended, so that the next attempt must settle what becomes of it.
        """
        with self._working(dataset) as connection:
            this = {"dataset": dataset, "manifest_id": manifest_id}
            # Whoever lost the answer may say so again.
            if (self._queries.lock_manifest(connection, **this) or ())[:2] == ("FAILED", attempt):
                return
            self._hold(connection, dataset, manifest_id, attempt)
            self._fail(connection, dataset, manifest_id, error_message)
            if not run_goes_on:
                self._queries.forget_engine_run(connection, dataset=dataset, manifest_id=manifest_id)
            failpoint("fail.failing")

    def release_attempt(self, dataset: str, manifest_id: str, attempt: int) -> None:
        """Give back what was broken off: the manifest is due at once, and no failure is counted.

        What its engine's run may still do, the next attempt settles.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._working(dataset) as connection:
            self._hold(connection, dataset, manifest_id, attempt)
            waiting = [key for (key,) in self._queries.keys_with_waiting_version(connection, **this)]
            self._queries.replan_files(connection, **this)
            self._queries.release_manifest(connection, **this)
            self._settle_versions(connection, dataset, waiting)

    def _commit(
        self,
        connection: Connection,
        this: dict[str, str],
        attempt: int,
        files: Sequence[FileOutcome],
        outputs: Sequence[OutputFile],
        schema: SchemaChange | None,
        **more: Any,
    ) -> None:
        if schema is not None:
            more["schema_version"] = self._add_schema(connection, **this, schema=schema)
        waiting = [key for (key,) in self._queries.keys_with_waiting_version(connection, **this)]
        self._finish_files(connection, **this, files=files)
        self._queries.retire_outputs(connection, **this)
        self._write_outputs(
            connection,
            self._queries.commit_outputs,
            this["dataset"],
            this["manifest_id"],
            attempt,
            outputs,
            file_ids=[output.file_id for output in outputs],
            staged=[output.staged_path for output in outputs],
        )
        self._queries.commit_manifest(connection, **this, **more)
        self._settle_versions(connection, this["dataset"], waiting)

    def _fail(self, connection: Connection, dataset: str, manifest_id: str, message: str) -> None:
        this = {"dataset": dataset, "manifest_id": manifest_id}
        if self._queries.let_go_manifest(connection, **this, changes=0):
            return  # nothing of it was being converted
        message = postgres_text(message)
        waiting = [key for (key,) in self._queries.keys_with_waiting_version(connection, **this)]
        self._queries.fail_files(connection, **this, message=message)
        self._queries.fail_manifest(connection, **this, message=message)
        self._settle_versions(connection, dataset, waiting)

    def _add_schema(self, connection: Connection, dataset: str, manifest_id: str, schema: SchemaChange) -> int:
        added = self._queries.add_schema_version(
            connection,
            dataset=dataset,
            manifest_id=manifest_id,
            expected_version=schema.expected_version,
            columns=Jsonb(schema.columns),
            changes=Jsonb(schema.changes),
        )
        if not added:
            raise SchemaRaced(f"{dataset} is past version {schema.expected_version}")
        return schema.expected_version + 1

    def _finish_files(
        self, connection: Connection, dataset: str, manifest_id: str, files: Sequence[FileOutcome]
    ) -> None:
        this = {"dataset": dataset, "manifest_id": manifest_id}
        ids = [file.id for file in files]
        with self._joining_by_hash(connection):
            finished = self._queries.finish_files(
                connection,
                **this,
                ids=ids,
                statuses=[file.status for file in files],
                read=[file.rows_read for file in files],
                written=[file.rows_written for file in files],
                rescued=[file.rows_rescued for file in files],
                quarantined=[file.rows_quarantined for file in files],
                dropped=[file.rows_dropped for file in files],
                exploded=[file.rows_exploded for file in files],
                erased=[file.rows_erased for file in files],
                classes=[file.error_class for file in files],
                messages=[file.error_message and postgres_text(file.error_message) for file in files],
            )
        left = self._queries.unfinished_files(connection, **this)
        if left or finished != len(files):
            raise LedgerError(
                f"{dataset} {manifest_id}: {left} of its files have no outcome, "
                f"{len(files) - finished} outcomes are of files that it is not converting"
            )
        self._queries.supersede_replaced(connection, **this, ids=ids)

    @staticmethod
    def _write_outputs(
        connection: Connection,
        query: Any,
        dataset: str,
        manifest_id: str,
        attempt: int,
        outputs: Sequence[OutputFile],
        **more: list[Any],
    ) -> None:
        written = query(
            connection,
            dataset=dataset,
            manifest_id=manifest_id,
            attempt=attempt,
            paths=[output.path for output in outputs],
            rows=[output.rows for output in outputs],
            bytes=[output.bytes for output in outputs],
            **more,
        )
        if written != len(outputs):
            raise LedgerError(f"{dataset} {manifest_id}: one of its outputs is another manifest's")
