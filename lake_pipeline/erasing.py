"""Erasing rows on request: the outputs that hold them are written anew, manifest by manifest, and nothing else.

A request stands in the ledger from its begin, and every later conversion obeys it, so that no replay brings its rows
back. Each manifest is rewritten under a hold like an attempt's: lease, heartbeat, and a number that fences off others.
May be repeated, and killed anywhere: `progress.finish_erasures` goes on with it.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lake_pipeline.archiving import archive
from lake_pipeline.attempts import LEASE, heartbeat
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset
from lake_pipeline.engines.task import STAGING
from lake_pipeline.erasing_raw import check_raw, erase_raw, sweep_raw
from lake_pipeline.erasure_reports import sign_off, write_down
from lake_pipeline.errors import ConservationError, ErasureUnfinished, LakeError, LeaseLost
from lake_pipeline.failpoints import failpoint
from lake_pipeline.guard import check_ledger
from lake_pipeline.kernel.erasing import Table
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.predicate import check_predicate, matching_sql
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.erasure_models import ErasureRow
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline.publishing import clean, release
from lake_pipeline.recording import record_commits
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import Copy, batched
from lake_pipeline.workers import worker_name

# So many files' footers are looked at in one query, and so many copied between two looks at the lease.
_FILES_AT_ONCE = 256


@dataclass(frozen=True)
class Found:
    """Matching rows of one committed output, by source key."""

    manifest_id: str
    output: OutputFile
    rows: dict[str, int]


@dataclass(frozen=True)
class _Rewritten:
    """An output and what takes its place; None where no row of it stays."""

    found: Found
    staged: str | None
    output: OutputFile | None


def find(lake: Lake, dataset: Dataset, predicate: str) -> list[Found]:
    """The committed outputs that hold matching rows now, by path; nothing is changed.

    Raises:
        PredicateInvalid: the predicate is no condition on the table's rows.
    """
    check_predicate(predicate, dataset, lake.schema(dataset.name))
    with _table(lake, dataset) as table:
        manifests = lake.ledger.manifests_with_outputs(dataset.name)
        return [found for manifest in manifests for found in _find_in(lake, table, manifest, predicate, None)]


def begin(lake: Lake, dataset: Dataset, predicate: str, *, raw: bool = False) -> ErasureRow:
    """Record a request, or find the same one where it was begun and not finished.

    Raises:
        PredicateInvalid: the predicate is no condition on the table's rows.
        ErasureRefused: raw files cannot be rewritten; nothing was recorded.
    """
    check_ledger(lake, [dataset])
    check_predicate(predicate, dataset, lake.schema(dataset.name))
    for row in lake.ledger.erasures(dataset.name):
        if row.ended_at is None and (row.predicate, row.raw) == (predicate, raw):
            return row
    if raw:
        archive(dataset, lake.store, lake.ledger)
        check_raw(lake, dataset, {key for found in find(lake, dataset, predicate) for key in found.rows})
    requested_by = f"{_user()}@{socket.gethostname()}"
    row = lake.ledger.add_erasure(dataset.name, predicate, raw=raw, requested_by=requested_by)
    failpoint("erase.recorded")
    return row


def finish(lake: Lake, dataset: Dataset, erasure: ErasureRow) -> ErasureRow:
    """Do what is left of a request, and sign it off.

    Raises:
        ErasureUnfinished: a manifest that holds matching rows is being converted, or rows are left; ask again.
    """
    check_ledger(lake, [dataset])
    write_down(lake, erasure)
    busy: list[str] = []
    _show_and_clean(lake, dataset)
    with _table(lake, dataset) as table:
        for manifest_id in lake.ledger.manifests_with_outputs(dataset.name):
            if _find_in(lake, table, manifest_id, erasure.predicate, erasure):
                try:
                    _erase(lake, table, manifest_id, erasure)
                except LeaseLost:
                    busy.append(manifest_id)
        if erasure.raw:
            archive(dataset, lake.store, lake.ledger)
            busy += erase_raw(lake, dataset, erasure)
        if busy:
            more = f" and {len(busy) - 1:,} more" if len(busy) > 1 else ""
            raise ErasureUnfinished(
                f"{dataset.name} {busy[0]}{more}: being converted; run the same command, or `lake run"
                f" {dataset.name}`, when that is over"
            )
        if erasure.raw:
            record_commits(dataset.name, lake.store, lake.ledger)
            sweep_raw(lake, erasure)
        manifests = lake.ledger.manifests_with_outputs(dataset.name)
        left = [found for name in manifests for found in _find_in(lake, table, name, erasure.predicate, erasure)]
    if left:
        raise ErasureUnfinished(
            f"{dataset.name}: {sum(sum(found.rows.values()) for found in left):,} rows that match are still there, such"
            f" as in {left[0].output.path}; run the same command again"
        )
    return sign_off(lake, dataset, erasure)


def _find_in(lake: Lake, table: Table, manifest_id: str, predicate: str, erasure: ErasureRow | None) -> list[Found]:
    """Outputs of a manifest with matching rows, those of files left out that landed after the request."""
    name = table.dataset.name
    outputs = lake.ledger.manifest_outputs(name, manifest_id)
    later = lake.ledger.sources_after(name, manifest_id, erasure.last_file_id) if erasure else []
    sources = lake.ledger.manifest_sources(name, manifest_id) if table.dataset.output.format == "json" else {}
    found: list[Found] = []
    for some in batched(outputs, _FILES_AT_ONCE):
        by_uri = {lake.store.uri(output.path): output for output in some}
        matches = table.matches(
            {uri: sources.get(output.path) for uri, output in by_uri.items()}, matching_sql(predicate, later)
        )
        found += [Found(manifest_id, by_uri[uri], rows) for uri, rows in matches.items()]
    return sorted(found, key=lambda item: item.output.path)


def _erase(lake: Lake, table: Table, manifest_id: str, erasure: ErasureRow) -> None:
    """Rewrite a manifest's outputs that hold matching rows, commit them, show them, and delete the old ones.

    Raises:
        LeaseLost: the manifest is being worked on.
    """
    dataset, store, ledger = table.dataset, lake.store, lake.ledger
    one_to_one = dataset.output.files == "one_to_one"
    attempt = ledger.hold_manifest(dataset.name, manifest_id, worker_name(), LEASE)
    copies: list[Copy] = []
    try:
        with heartbeat(ledger, dataset.name, manifest_id, attempt):
            if one_to_one:
                release(dataset.name, manifest_id, store, ledger)  # what a name holds is then what is committed
            found = _find_in(lake, table, manifest_id, erasure.predicate, erasure)
            if not found:  # someone was quicker
                ledger.let_go_manifest(dataset.name, manifest_id, attempt)
                return
            condition = matching_sql(
                erasure.predicate, ledger.sources_after(dataset.name, manifest_id, erasure.last_file_id)
            )
            rewritten = [_rewrite(lake, table, condition, item, attempt, number) for number, item in enumerate(found)]
            failpoint("erase.staged")
            outputs = [item.output for item in rewritten if item.output]
            if not one_to_one:
                ledger.intend_outputs(dataset.name, manifest_id, attempt, outputs)
                copies = [Copy(item.staged, item.output.path) for item in rewritten if item.staged and item.output]
            for some in batched(copies, _FILES_AT_ONCE):
                ledger.check_attempt(dataset.name, manifest_id, attempt)
                store.publish_all(some)
            failpoint("erase.copied")
            rows: Counter[str] = Counter()
            for item in found:
                rows.update(item.rows)
            leftovers = ledger.commit_erasure(
                erasure.id,
                dataset.name,
                manifest_id,
                attempt,
                retired=[] if one_to_one else [item.output.path for item in found],
                outputs=outputs,
                rows=rows,
                rewritten=[_told(item) for item in rewritten],
            )
    except BaseException:
        # The names carry the attempt, so they are nobody else's; the error's answer may have been that of a commit.
        with suppress(LakeError):
            store.delete(ledger.uncommitted_keys(dataset.name, manifest_id, [copy.target for copy in copies]))
        with suppress(LakeError):
            ledger.let_go_manifest(dataset.name, manifest_id, attempt)
        raise
    # Written down before anything is deleted that only the commit before needs.
    record_commits(dataset.name, store, ledger, manifest_id)
    if one_to_one:
        release(dataset.name, manifest_id, store, ledger)
        record_commits(dataset.name, store, ledger, manifest_id)
        leftovers = []
    catalog_of(lake.settings).refresh(lake, dataset)
    clean(dataset.name, leftovers, store, ledger)
    store.delete_prefix(_staging(dataset.name, manifest_id, attempt))
    failpoint("erase.cleaned")


def _rewrite(lake: Lake, table: Table, condition: str, found: Found, attempt: int, number: int) -> _Rewritten:
    """Stage an output without its matching rows."""
    store, manifest_id, path = lake.store, found.manifest_id, found.output.path
    folder, slash, _ = path.rpartition("/")
    one_to_one = table.dataset.output.files == "one_to_one"
    name = f"{manifest_id}-a{attempt}-{number}{Path(path).suffix}"
    staged = _staging(table.dataset.name, manifest_id, attempt) + name
    local = store.root / staged if store.root else table.means.scratch / name
    if one_to_one:
        (source,) = found.rows
        at_hand = store.fetch(path, table.means.scratch)
        before, after = table.rewrite_lines(at_hand, source, condition, local)
    else:
        before, after = table.rewrite(store.uri(path), condition, local)
    if before != found.output.rows:
        raise ConservationError(f"{path} holds {before:,} rows, and the ledger has {found.output.rows:,} of it")
    if not after and not one_to_one:
        return _Rewritten(found, None, None)
    size = local.stat().st_size
    if not store.root:
        store.upload(local, staged)
        local.unlink()
    if one_to_one:
        return _Rewritten(found, staged, OutputFile(path, after, size, found.output.file_id, staged))
    return _Rewritten(found, staged, OutputFile(f"{folder}{slash}{name}", after, size))


def _told(item: _Rewritten) -> dict[str, object]:
    before = item.found.output
    return {
        "path": before.path,
        "rows_before": before.rows,
        "bytes_before": before.bytes,
        "replaced_by": item.output.path if item.output else None,
        "rows_after": item.output.rows if item.output else 0,
        "bytes_after": item.output.bytes if item.output else 0,
    }


def _show_and_clean(lake: Lake, dataset: Dataset) -> None:
    """Finish what whoever died after a commit left: names without their content, a table of old files, old files."""
    one_to_one = dataset.output.files == "one_to_one"
    record_commits(dataset.name, lake.store, lake.ledger)
    if one_to_one:
        for manifest_id in lake.ledger.manifests_to_release(dataset.name):
            release(dataset.name, manifest_id, lake.store, lake.ledger)
    leftovers = [] if one_to_one else lake.ledger.leftover_outputs(dataset.name)
    catalog_of(lake.settings).refresh_if_stale(lake, dataset)
    clean(dataset.name, leftovers, lake.store, lake.ledger)


def _staging(dataset: str, manifest_id: str, attempt: int) -> str:
    return f"{STAGING}{dataset}/{manifest_id}/{attempt}/"


@contextmanager
def _table(lake: Lake, dataset: Dataset) -> Iterator[Table]:
    with scratch_folder() as scratch:
        means = Means(scratch, lake.settings.threads or os.cpu_count() or 1, lake.settings.memory)
        yield Table(dataset, lake.schema(dataset.name), means)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
