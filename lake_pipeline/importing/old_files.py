"""What an old system's table says of files: which columns say it, in which words, and of which keys. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ImportInvalid

# Words for a file that is done, in any case.
DONE = frozenset({"SUCCEEDED", "SUCCESS", "SUCCESSFUL", "COMPLETED", "COMPLETE", "DONE", "PROCESSED", "ARCHIVED"})
# Usual names of the columns, the likelier first.
_USUAL = {
    "key": ("s3_key", "object_key", "file_key", "source_path", "file_path", "s3_path", "key", "path", "pk"),
    "state": ("status", "processing_status", "file_status", "state"),
    "etag": ("etag", "e_tag", "s3_etag", "file_etag"),
    "time": ("processed_at", "completed_at", "ended_at", "end_time", "finished_at", "last_updated", "updated_at"),
}


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a file's key and state, and of its ETag and when it was done, if there are any."""

    key: str
    state: str
    etag: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Names that someone has given for columns; None: the usual ones."""

    key: str | None = None
    state: str | None = None
    etag: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class OldFile:
    """A file as the old system has it, by its key here; `done_at` is in UTC."""

    key: str
    done: bool
    etag: str | None
    done_at: datetime | None


def choose_columns(there: Collection[str], wanted: Wanted) -> Columns:
    """Which of the columns say what.

    Raises:
        ImportInvalid: one that was named is not there, or none has a usual name for what is needed.
    """
    found: dict[str, str | None] = {}
    by_name = {name.lower(): name for name in there}
    for what, usual in _USUAL.items():
        named = getattr(wanted, what)
        if named is not None and named not in there:
            raise ImportInvalid(f"there is no column {named}; there are {', '.join(sorted(there))}")
        found[what] = named or next((by_name[name] for name in usual if name in by_name), None)
        if found[what] is None and what in ("key", "state"):
            raise ImportInvalid(
                f"no column has a usual name for a file's {what} ({', '.join(usual)}): name it with --{what}-column;"
                f" there are {', '.join(sorted(there))}"
            )
    return Columns(str(found["key"]), str(found["state"]), found["etag"], found["time"])


def old_prefixes(dataset: Dataset, store_url: str, given: str | None) -> list[tuple[str, str]]:
    """What keys of the dataset's files may begin with in the old table, and what that is here; the longest first.

    They may be whole URLs, or begin at the bucket's or at the lake's root, in the source prefix or in the archive's.
    With `given`, they begin with that in place of the store's root.
    """
    roots: Sequence[str]
    if given is not None:
        roots = (given,)
    elif store_url.startswith("s3://"):
        bucket, _, below = store_url.removeprefix("s3://").partition("/")
        below = f"{below}/" if below else ""
        roots = ("", "/", below, *(f"{scheme}://{bucket}/{below}" for scheme in ("s3", "s3a", "s3n")))
    else:
        roots = ("", "/", f"{store_url}/")
    source, archive = dataset.source.prefix, dataset.archive.prefix
    pairs = {root + prefix: source for root in roots for prefix in filter(None, (archive, source))}
    return sorted(pairs.items(), key=lambda pair: len(pair[0]), reverse=True)
