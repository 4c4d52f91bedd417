"""The ledger's part in being rebuilt: a dataset's rows are put together in temporary tables, then take their place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from lake_pipeline.errors import LedgerError
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.connection import Connection, LedgerConnection
from lake_pipeline.ledger.erasure_models import ErasureRow
from lake_pipeline.ledger.models import SchemaVersion
from lake_pipeline.manifests import Manifest
from lake_pipeline.store import StoredObject

_MANIFEST = (
    "manifest_id, landing_group, slug, sequence, state, attempt, files, bytes, engine_run_id, schema_version,"
    " error_message, planned_at, started_at, committed_at, metrics, changes, recorded_changes, quarantined_records,"
    " replay"
)
_FILE = (
    "manifest_id, id, s3_key, etag, size, last_modified, landing_group, status, glue_job_run_id, retry_count,"
    " error_class, error_message, discovered_at, claimed_at, processed_at, rows_read, rows_written, rows_rescued,"
    " rows_quarantined, rows_dropped, rows_exploded, rows_erased, archived_key, archived_etag, archived_size"
)
_OUTPUT = "manifest_id, path, attempt, rows, bytes, file_id, staged_path"


@dataclass(frozen=True)
class Folders:
    """Where a dataset's raw files land, and where they are moved to."""

    source: str
    archive: str | None
    quarantine: str


class Rebuild:
    """A dataset's rows as they are put together; `dataset` is not otherwise worked on meanwhile."""

    def __init__(self, connection: Connection, queries: Any, dataset: str) -> None:
        self.dataset = dataset
        self._connection = connection
        self._queries = queries

    def add_commit(self, manifest: dict[str, Any], lines: Iterable[dict[str, Any]]) -> None:
        """The rows of a commit document, all or, where the lines raise an error, none."""
        this = {"manifest_id": manifest["manifest_id"], "recorded_changes": manifest["changes"]}
        # What was being converted when the document was written is to be converted.
        state = "COMMITTED" if manifest["state"] == "COMMITTED" else "PLANNED"
        row = manifest | this | {"state": state, "metrics": json.dumps(manifest["metrics"])}
        with self._connection.transaction():
            self._copy("rebuilt_manifests", _MANIFEST, [row])
            for kind, group in groupby(lines, key=lambda line: "file" if "file" in line else "output"):
                rows = (line[kind] | this for line in group)
                self._copy(f"rebuilt_{kind}s", _FILE if kind == "file" else _OUTPUT, rows)

    def add_planned(self, manifest: Manifest, changes: int) -> None:
        """A manifest that no commit document tells of, with its files; `changes` are those that were lost."""
        slug, _, sequence = manifest.manifest_id.rpartition(".")
        row = {
            "manifest_id": manifest.manifest_id,
            "landing_group": manifest.landing_group,
            "slug": slug,
            "sequence": int(sequence),
            "state": "PLANNED",
            "attempt": 0,
            "changes": changes,
        }
        files = (
            {
                "manifest_id": manifest.manifest_id,
                "id": file.id,
                "s3_key": file.key,
                "etag": file.etag,
                "size": file.size,
                "landing_group": manifest.landing_group,
                "archived_key": file.location if file.location != file.key else None,
            }
            for file in manifest.files
        )
        with self._connection.transaction():
            self._copy("rebuilt_manifests", _MANIFEST, [row])
            self._copy("rebuilt_planned", _FILE, files)

    def add_stored(self, objects: Iterable[StoredObject]) -> None:
        """Objects that the store holds."""
        rows = ({"key": o.key, "size": o.size, "etag": o.etag, "last_modified": o.last_modified} for o in objects)
        self._copy("rebuilt_stored", "key, size, etag, last_modified", rows)

    def add_seen(self, attempts: Iterable[tuple[str, int]]) -> None:
        """Attempts (manifest, number) that have left something; their numbers are not given again."""
        rows = ({"manifest_id": manifest_id, "attempt": attempt} for manifest_id, attempt in attempts)
        self._copy("rebuilt_seen", "manifest_id, attempt", rows)

    def loaded(self, output_stem: str) -> None:
        """Everything was added: settle which document tells of which file, and number the files."""
        self._queries.index_rebuilt(self._connection)
        self._queries.settle_rebuilt_files(self._connection)
        self._queries.add_planned_files(self._connection)
        if self._queries.rebuilt_ids_collide(self._connection, dataset=self.dataset):
            self._queries.renumber_rebuilt(self._connection)
        self._queries.supersede_rebuilt(self._connection)
        self._queries.name_rebuilt_outputs(self._connection, stem=output_stem)

    def locate(self, folders: Folders) -> None:
        """Find files by their names and ETags, where they landed or where they would have been moved to."""
        self._queries.list_candidates(self._connection, **asdict(folders))
        self._queries.locate_by_etag(self._connection)

    def doubtful(self) -> Iterator[list[tuple[int, str, str, int, str]]]:
        """Pages of (file, its ETag, key, size, ETag) of files not found that may lie under that key."""
        yield from self._pages(self._queries.doubtful_candidates.sql)

    def located(self, found: Sequence[tuple[int, str]]) -> None:
        """Where files lie: (file, key)."""
        self._queries.locate_files(self._connection, ids=[file for file, _ in found], keys=[key for _, key in found])

    def locate_mended(self, folders: Folders) -> None:
        """What lies in quarantine under the name of a file that was not found is that file, mended."""
        self._queries.locate_mended(self._connection, source=folders.source, quarantine=folders.quarantine)

    def name_lost(self, folders: Folders, *, moves: bool) -> None:
        """Files that were done with and are nowhere; those that `moves` were moved, and deleted from there."""
        self._queries.name_lost(self._connection, **asdict(folders), moves=moves)

    def staged(self) -> list[str]:
        """Staged content that committed names were still to get."""
        return [path for (path,) in self._queries.rebuilt_staged(self._connection)]

    def release_staged(self, gone: list[str]) -> None:
        """These are gone, so the names have their content."""
        self._queries.release_rebuilt(self._connection, paths=gone)

    def check_sizes(self) -> None:
        """Outputs that the store does not hold, or not in their size, are at fault."""
        self._queries.fault_sizes(self._connection)

    def intact_outputs(self) -> Iterator[list[tuple[str, int]]]:
        """Pages of (path, rows) of the others."""
        yield from self._pages(self._queries.intact_outputs.sql)

    def at_fault(self, paths: list[str]) -> None:
        """These outputs hold not the rows that they should."""
        self._queries.fault_outputs(self._connection, paths=paths)

    def replan_faulty(self) -> None:
        """Manifests with an output at fault are to be converted again; what is left of them stays in the table."""
        self._queries.replan_faulty_manifests(self._connection)
        self._queries.replan_faulty_files(self._connection)

    def unfound_plans(self) -> list[str]:
        """Manifests without a commit document of which not every raw file was found."""
        return [found for (found,) in self._queries.unfound_plans(self._connection)]

    def outputs_by_attempt(self, manifest_id: str) -> dict[int, list[tuple[str, int]]]:
        """Its outputs in the store, (path, bytes), by the attempt that wrote them."""
        found: dict[int, list[tuple[str, int]]] = {}
        for attempt, path, size in self._queries.named_outputs(self._connection, manifest_id=manifest_id):
            found.setdefault(attempt, []).append((path, size))
        return found

    def commit_found(
        self, manifest_id: str, attempt: int, outputs: Sequence[tuple[str, int, int]], rows: dict[str, int]
    ) -> None:
        """Take outputs (path, rows, bytes) for what the manifest's commit wrote; `rows` are of each raw file's key."""
        this = {"manifest_id": manifest_id}
        self._copy(
            "rebuilt_outputs",
            _OUTPUT,
            ({**this, "path": path, "attempt": attempt, "rows": n, "bytes": size} for path, n, size in outputs),
        )
        self._queries.commit_found_manifest(self._connection, **this, attempt=attempt)
        self._queries.commit_found_files(self._connection, **this, keys=list(rows), rows=list(rows.values()))

    def drop_unfound(self, manifest_id: str) -> None:
        """Leave out those of its files that were not found, and the manifest itself where none is left."""
        self._queries.drop_unfound_files(self._connection, manifest_id=manifest_id)
        self._queries.drop_empty_manifest(self._connection, manifest_id=manifest_id)

    def add_leftovers(self) -> None:
        """Outputs that no commit lists, of manifests whose rows are safe, are to be deleted."""
        self._queries.add_rebuilt_leftovers(self._connection)

    def findings(self, folders: Folders, most: int) -> Iterator[tuple[str, int, list[str]]]:
        """Of each kind of difference how many there are, and the first of them."""
        q, connection = self._queries, self._connection
        moved = {"archive": folders.archive, "quarantine": folders.quarantine}
        for kind, rows in (
            ("output_missing", q.found_output_missing(connection, most=most)),
            ("output_differs", q.found_output_differs(connection, most=most)),
            ("raw_missing", q.found_raw_missing(connection, most=most)),
            ("unaccounted", q.found_unaccounted(connection, most=most, **moved)),
            ("unresolved", q.found_unresolved(connection, most=most)),
            ("leftover", q.found_leftover(connection, most=most)),
        ):
            if found := list(rows):
                yield kind, found[0][0], [key for _, key in found]

    def totals(self) -> tuple[int, int, int, int, int]:
        """Manifests, those of them to be converted, files, outputs and rows."""
        found: tuple[int, int, int, int, int] = self._queries.rebuilt_totals(self._connection)
        return found

    def replace(self, schemas: Sequence[SchemaVersion], erasures: Sequence[ErasureRow]) -> None:
        """Let the rows take the place of the ledger's. Requests to erase are added to those that it knows."""
        this = {"dataset": self.dataset}
        self._queries.raise_attempts(self._connection)
        for clear in (
            self._queries.clear_outputs,
            self._queries.clear_settled,
            self._queries.clear_manifests,
            self._queries.clear_files,
            self._queries.clear_schemas,
            self._queries.clear_cursor,
            self._queries.clear_report,
            self._queries.forget_mark,
            self._queries.forget_catalogue_mark,
            self._queries.forget_catalogue_partitions,
        ):
            clear(self._connection, **this)
        self._queries.insert_rebuilt_manifests(self._connection, **this)
        self._queries.insert_rebuilt_files(self._connection, **this)
        self._queries.insert_rebuilt_outputs(self._connection, **this)
        for schema in schemas:
            self._queries.insert_rebuilt_schema(
                self._connection,
                **this,
                version=schema.version,
                columns=json.dumps(schema.columns),
                changes=json.dumps(schema.changes),
                manifest_id=schema.manifest_id,
                created_at=schema.created_at,
            )
        for erasure in erasures:
            self._queries.restore_erasure(self._connection, erasure=json.dumps(asdict(erasure), default=str))
        self._queries.renumber_erasures(self._connection, **this)
        self._queries.advance_erasure_ids(self._connection)
        self._queries.advance_file_ids(self._connection)
        failpoint("rebuild.replacing")

    def _copy(self, table: str, columns: str, rows: Iterable[dict[str, Any]]) -> None:
        names, statement = columns.split(", "), f"COPY {table} ({columns}) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row([row.get(name) for name in names])

    def _pages(self, sql: str) -> Iterator[list[Any]]:
        # A cursor shows what was there when it was opened, whatever is changed meanwhile.
        with self._connection.cursor("rebuilt") as cursor:
            cursor.execute(sql)
            while page := cursor.fetchmany(1000):
                yield page


class RebuildLedger(LedgerConnection):
    """Rebuilding the rows of a dataset."""

    @contextmanager
    def rebuilding(self, dataset: str, *, dry_run: bool) -> Iterator[Rebuild]:
        """Put a dataset's rows together; at the end of the block they are the ledger's, or in a dry run forgotten.

        Raises:
            LedgerError: a worker is converting one of its manifests.
        """
        with self._writing(dataset) as connection:
            if running := self._queries.leased_manifest(connection, dataset=dataset):
                raise LedgerError(f"{dataset} {running} is being converted; rebuild when that is over")
            self._queries.create_rebuilt(connection)
            yield Rebuild(connection, self._queries, dataset)
            if dry_run:
                connection.rollback()

    def knows(self, dataset: str) -> bool:
        """Whether there are rows of a dataset."""
        with self._transaction() as connection:
            return bool(self._queries.knows_dataset(connection, dataset=dataset))
