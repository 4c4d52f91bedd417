"""Commits written down in the store, from where a lost ledger is rebuilt.

A commit is written down before anything that it made superfluous is deleted and before its raw files are moved. So
whatever the last document says is there, however far the ledger had gone on when it was lost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from lake_pipeline.documents import commit_key, encode_commit, mark_key, schema_key
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.recording import UnrecordedCommit
from lake_pipeline.store import Store

_AT_ONCE = 4


def record_commits(dataset: str, store: Store, ledger: Ledger, manifest_id: str | None = None) -> int:
    """Write down what has changed since it was last written down, of one manifest or of all; how many those were.

    May be repeated, killed anywhere and run beside others.
    """
    for version in ledger.unrecorded_schemas(dataset):
        store.put_json(schema_key(dataset, version.version), asdict(version))
        ledger.schema_recorded(dataset, version.version)
    commits = ledger.unrecorded_commits(dataset, manifest_id)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda commit: _record(dataset, commit, store, ledger), commits))
    failpoint("record.recorded")
    with ledger.raising_mark(dataset) as mark:
        if mark is not None:
            store.put_json(mark_key(dataset), {"dataset": dataset, **asdict(mark)})
    return len(commits)


def _record(dataset: str, commit: UnrecordedCommit, store: Store, ledger: Ledger) -> None:
    with ledger.commit_record(dataset, commit.manifest_id) as record:
        changes = record.manifest["changes"]
        document = encode_commit(dataset, record.manifest, record.files, record.outputs)
    store.put(commit_key(dataset, commit.manifest_id, changes), document)
    failpoint("record.written")
    ledger.commit_recorded(dataset, commit.manifest_id, changes)
    if commit.recorded is not None and commit.recorded < changes:
        store.delete([commit_key(dataset, commit.manifest_id, commit.recorded)])
