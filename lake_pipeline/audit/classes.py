"""What an audit may find, by name, and what `--repair` does about it."""

from __future__ import annotations

from dataclasses import dataclass

from lake_pipeline.ledger.invariants import INVARIANTS


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be; `subject` is a key, a path or a manifest, as its class says."""

    dataset: str
    kind: str
    subject: str
    detail: str
    manifest_id: str | None = None


@dataclass(frozen=True)
class DifferenceClass:
    """What the subject of a difference is, and what is done about it; without `repair` it is only reported."""

    meaning: str
    repair: str | None = None


_REPLAN = "its manifest is planned again, for the next run to write its rows anew"
_FINISH = "it is finished or deleted, as a run does first"

CLASSES = {
    # Raw files
    "unregistered": DifferenceClass("a file below the source prefix that the ledger does not know", "it is registered"),
    "changed": DifferenceClass("a file of another version than the ledger knows", "the new version is registered"),
    "missing": DifferenceClass(
        "a file that waits or has failed, and is not in the store",
        "it is ended as SUPERSEDED (ObjectDeleted) where it never had rows",
    ),
    "not_archived": DifferenceClass("a file that is done with and still lies where it landed", "it is archived"),
    "archive_unrecorded": DifferenceClass("a file that was moved, which the ledger does not say", "the ledger says so"),
    "archive_missing": DifferenceClass("a file that is done with and is not where the ledger says that it lies"),
    "archive_changed": DifferenceClass("a file that was changed in the archive or in quarantine"),
    "archive_stray": DifferenceClass("an object in the archive or among quarantined files, of no file in the ledger"),
    # Curated files
    "output_missing": DifferenceClass("a committed curated file that is not in the store", _REPLAN),
    "output_changed": DifferenceClass("a committed curated file of another size, or one that cannot be read", _REPLAN),
    "output_rows": DifferenceClass("a curated file with another number of rows than was committed", _REPLAN),
    "file_rows": DifferenceClass("a raw file with more or fewer rows in curated files than were committed", _REPLAN),
    "output_unreleased": DifferenceClass("a committed curated file that has not got its name yet", _FINISH),
    "output_left": DifferenceClass("a curated file that an attempt which is over meant to publish", _FINISH),
    "output_stray": DifferenceClass("an object below the output prefix that the ledger does not list"),
    "staging_left": DifferenceClass("the staging folder of an attempt that is over", _FINISH),
    "staging_stray": DifferenceClass("a staging folder of no attempt in the ledger"),
    # Records that were set aside
    "records_missing": DifferenceClass("a committed document of set-aside records that is not in the store", _REPLAN),
    "records_changed": DifferenceClass("a document with another number of set-aside records than committed", _REPLAN),
    "records_left": DifferenceClass("a document of set-aside records of an attempt that is over", _FINISH),
    "records_stray": DifferenceClass("an object among the documents of set-aside records that is none of them"),
    # Who works, and what readers are shown
    "lease_expired": DifferenceClass("a manifest that is held by a worker that died or stopped renewing", _FINISH),
    "catalogue_stale": DifferenceClass("a table that shows readers another commit than the last", _FINISH),
} | {
    name: DifferenceClass(f"the ledger breaks a rule: {rule}", _REPLAN if name == "rows_differ" else None)
    for name, rule in INVARIANTS.items()
}

FINISHED = frozenset(name for name, found in CLASSES.items() if found.repair == _FINISH)
REPLANNED = frozenset(name for name, found in CLASSES.items() if found.repair == _REPLAN)
