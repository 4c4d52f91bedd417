"""The ledger's part in erasing rows: requests, which stand, and what was rewritten for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from lake_pipeline.erasures import Erasure, predicate_digest
from lake_pipeline.errors import LeaseLost, LedgerError
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.attempts import AttemptLedger
from lake_pipeline.ledger.erasure_models import ErasureRow, ErasureStep, NotSearched, RawFileToSearch, RewrittenRaw
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline.ledger.retrying import once


class ErasureLedger(AttemptLedger):
    """Requests to erase rows. Who rewrites a manifest for one holds it as an attempt does, with a lease."""

    @once  # a second time would be another request
    def add_erasure(self, dataset: str, predicate: str, *, raw: bool, requested_by: str) -> ErasureRow:
        """Record a request. From now on no attempt commits that does not know of it."""
        with self._writing(dataset) as connection:
            id_ = self._queries.add_erasure(
                connection,
                dataset=dataset,
                predicate=predicate,
                sha256=predicate_digest(predicate),
                raw=raw,
                requested_by=requested_by,
            )
        return next(row for row in self.erasures(dataset) if row.id == id_)

    def erasures(self, dataset: str) -> list[ErasureRow]:
        """Every request, oldest first."""
        with self._transaction() as connection:
            return list(self._queries.erasures(connection, dataset=dataset))

    def standing_erasures(self, dataset: str) -> tuple[Erasure, ...]:
        """The same as conversions know them."""
        return tuple(Erasure(row.id, row.predicate, row.last_file_id) for row in self.erasures(dataset))

    def end_erasure(self, id_: int, rows_erased: int, report_key: str, sha256: str) -> None:
        """It is done; a second end changes nothing."""
        with self._transaction() as connection:
            self._queries.end_erasure(connection, id=id_, rows_erased=rows_erased, report_key=report_key, sha256=sha256)

    def erasure_steps(self, id_: int) -> list[ErasureStep]:
        """What was rewritten, in order."""
        with self._transaction() as connection:
            return list(self._queries.erasure_steps(connection, id=id_))

    def manifests_with_outputs(self, dataset: str) -> list[str]:
        """Manifests that have committed files."""
        with self._transaction() as connection:
            return [found for (found,) in self._queries.manifests_with_outputs(connection, dataset=dataset)]

    def manifest_outputs(self, dataset: str, manifest_id: str) -> list[OutputFile]:
        """The committed files of one manifest, by path."""
        with self._transaction() as connection:
            return list(self._queries.manifest_outputs(connection, dataset=dataset, manifest_id=manifest_id))

    def sources_after(self, dataset: str, manifest_id: str, last_file_id: int) -> list[str]:
        """Keys whose rows in the manifest are of a version that landed after an erasure's last file."""
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._transaction() as connection:
            return [key for (key,) in self._queries.sources_after(connection, **this, last_file_id=last_file_id)]

    def hold_manifest(self, dataset: str, manifest_id: str, worker: str, lease: timedelta) -> int:
        """Take a manifest that no one converts, to erase rows of it; the attempt's number.

        Its files keep their states, and so does the manifest once it is let go.

        Raises:
            LeaseLost: it is being converted, or rows of it are being erased.
        """
        self.reap(dataset)
        with self._working(dataset) as connection:
            held = self._queries.hold_manifest(
                connection, dataset=dataset, manifest_id=manifest_id, worker=worker, lease=lease
            )
            if held is None:
                raise LeaseLost(f"{dataset} {manifest_id} is being worked on")
            self._unsettle(connection, dataset, manifest_ids=[manifest_id])
            return int(held)

    def let_go_manifest(self, dataset: str, manifest_id: str, attempt: int) -> None:
        """Give a held manifest back as it was."""
        with self._working(dataset) as connection:
            self._hold(connection, dataset, manifest_id, attempt)
            self._queries.let_go_manifest(connection, dataset=dataset, manifest_id=manifest_id, changes=0)

    def commit_erasure(
        self,
        erasure: int,
        dataset: str,
        manifest_id: str,
        attempt: int,
        *,
        retired: Sequence[str],
        outputs: Sequence[OutputFile],
        rows: Mapping[str, int],
        rewritten: Sequence[dict[str, Any]],
    ) -> list[str]:
        """Put rewritten files in the place of a manifest's `retired` ones, all or nothing, and let it go.

        `rows` are those erased, by source key; `rewritten` documents for the report. Returns paths that may be left in
        the store; delete them once readers are told, then `forget_outputs`.

        Raises:
            LeaseLost: somebody else has taken over.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._working(dataset) as connection:
            self._queries.lock_manifest(connection, **this)
            # Whoever lost the answer to a commit may ask again.
            if not self._queries.has_erasure_step(connection, id=erasure, manifest_id=manifest_id, attempt=attempt):
                self._hold(connection, dataset, manifest_id, attempt)
                if self._queries.retire_erased(connection, **this, paths=list(retired)) != len(retired):
                    raise LedgerError(f"{dataset} {manifest_id}: its outputs are others by now")
                self._write_outputs(
                    connection,
                    self._queries.commit_outputs,
                    dataset,
                    manifest_id,
                    attempt,
                    outputs,
                    file_ids=[output.file_id for output in outputs],
                    staged=[output.staged_path for output in outputs],
                )
                self._queries.count_erased(connection, **this, keys=list(rows), rows=list(rows.values()))
                self._add_step(
                    connection,
                    erasure,
                    manifest_id,
                    attempt,
                    outputs=list(rewritten),
                    files=[{"key": key, "rows_erased": count} for key, count in rows.items()],
                )
                self._queries.let_go_manifest(connection, **this, changes=1)
                failpoint("erase.committing")
            leftovers = [path for (path,) in self._queries.manifest_leftovers(connection, **this)]
        failpoint("erase.committed")
        return leftovers

    def raw_files_to_search(self, dataset: str, last_file_id: int) -> list[RawFileToSearch]:
        """Files that may hold raw records of erased rows, by manifest."""
        with self._transaction() as connection:
            return list(self._queries.raw_files_to_search(connection, dataset=dataset, last_file_id=last_file_id))

    def commit_raw(
        self,
        erasure: int,
        dataset: str,
        manifest_id: str,
        attempt: int,
        rewritten: Sequence[RewrittenRaw],
        unread: Mapping[str, str],
    ) -> None:
        """Put rewritten raw files in the place of archived ones, all or nothing, and let their manifest go.

        `manifest_id` is empty for files of none, which nobody converts. `unread` says of keys why their files were not
        searched.

        Raises:
            LeaseLost: somebody else has taken over.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._working(dataset) as connection:
            if manifest_id:
                self._queries.lock_manifest(connection, **this)
                # Whoever lost the answer to a commit may ask again.
                if self._queries.has_erasure_step(connection, id=erasure, manifest_id=manifest_id, attempt=attempt):
                    return
                self._hold(connection, dataset, manifest_id, attempt)
            replaced = self._queries.replace_raw(
                connection,
                dataset=dataset,
                ids=[file.id for file in rewritten],
                before=[file.before for file in rewritten],
                after=[file.after for file in rewritten],
                etags=[file.etag for file in rewritten],
                sizes=[file.size for file in rewritten],
            )
            if replaced != len(rewritten):
                raise LedgerError(f"{dataset}: {len(rewritten) - replaced} archived files are others by now")
            told = [asdict(file) for file in rewritten]
            told += [{"key": key, "unread": reason} for key, reason in unread.items()]
            self._add_step(connection, erasure, manifest_id, attempt, raw=told)
            self._queries.let_go_manifest(connection, **this, changes=1)

    def manifest_sources(self, dataset: str, manifest_id: str) -> dict[str, str]:
        """The raw file's key of each of a manifest's curated files that is one raw file's."""
        with self._transaction() as connection, self._joining_by_hash(connection):
            return dict(self._queries.manifest_sources(connection, dataset=dataset, manifest_id=manifest_id))

    def not_archived(self, dataset: str, keys: Iterable[str]) -> list[str]:
        """Those of these keys whose file does not lie in the archive as far as the ledger knows."""
        with self._transaction() as connection:
            return [key for (key,) in self._queries.not_archived(connection, dataset=dataset, keys=sorted(keys))]

    @contextmanager
    def sweeping(self, dataset: str) -> Iterator[None]:
        """A block that no other process of the dataset is in."""
        with self._transaction() as connection:
            self._queries.lock_sweep(connection, dataset=dataset)
            yield

    def not_searched(self, dataset: str, last_file_id: int) -> NotSearched:
        """What an erasure cannot look into."""
        with self._transaction() as connection:
            those = {"dataset": dataset, "last_file_id": last_file_id}
            imported = self._queries.imported_files(connection, **those)
            files, records, waiting = self._queries.not_searched(connection, **those)
            return NotSearched(files, records, waiting, imported)

    def _add_step(
        self,
        connection: Any,
        erasure: int,
        manifest_id: str,
        attempt: int,
        *,
        outputs: Sequence[dict[str, Any]] = (),
        files: Sequence[dict[str, Any]] = (),
        raw: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._queries.add_erasure_step(
            connection,
            id=erasure,
            manifest_id=manifest_id,
            attempt=attempt,
            outputs=Jsonb(list(outputs)),
            files=Jsonb(list(files)),
            raw=Jsonb(list(raw)),
        )
