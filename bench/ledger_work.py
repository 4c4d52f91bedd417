"""What the ledger's benchmark has done by processes of their own: a listing, events, workers."""

from __future__ import annotations

import hashlib
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.envelopes import ObjectEvent
from lake_pipeline.discovery.listing import discover
from lake_pipeline.discovery.news import take_in
from lake_pipeline.errors import ObjectMissing
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, OutputFile
from lake_pipeline.store import Store, StoredObject, batched

PREFIX = "raw/events/"
DECLARATION: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": PREFIX, "format": "ndjson", "group": "{year}/{week}/"},
    "output": {"prefix": "curated/events/"},
}
_PAGE = 1000
_WEEK = 25_000  # files of one landing group; so there is one for each worker to claim from
_LANDED = datetime(2026, 1, 1, tzinfo=UTC)
_LEASE = timedelta(minutes=2)
_OUTPUTS = 20  # curated files of a manifest
_MOVED = 1000  # raw files of which the archive tells at once

T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """Files by number, from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Registering:
    """Files registered in so many seconds, and the process's largest resident memory in bytes."""

    files: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Worked:
    """Seconds of each claim and each commit of a worker."""

    claims: list[float]
    commits: list[float]


class SyntheticObjects:
    """Objects that are only said to be there: what is measured is the ledger, not a store."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[list[StoredObject]]:
        del prefix
        assert after is None
        for start in range(self._span.start, self._span.end, _PAGE):
            yield [object_of(number) for number in range(start, min(start + _PAGE, self._span.end))]

    def head(self, key: str) -> StoredObject:
        number = int(key.rpartition("-")[2].partition(".")[0])
        if not self._span.start <= number < self._span.end:
            raise ObjectMissing(key)
        return object_of(number)

    def etag_now(self, key: str) -> str | None:
        return self.head(key).etag


def object_of(number: int) -> StoredObject:
    """The n-th object; numbers and keys have the same order."""
    group = f"{2000 + number // _WEEK // 50}/week{number // _WEEK % 50:02d}"
    key = f"{PREFIX}{group}/part-{number:09d}.json.gz"
    etag = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return StoredObject(key, 50_000 + number % 1000, etag, _LANDED + timedelta(seconds=number))


def in_process(act: Callable[..., T], *arguments: Any) -> T:
    """Do it in a new process, whose memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(act, *arguments).result()


def register_by_listing(url: str, span: Span) -> Registering:
    """List the objects into the ledger, as a sensor or `lake run` does."""
    dataset = Dataset.model_validate(DECLARATION)
    with Ledger.open(url) as ledger:
        start = time.monotonic()
        found = discover(dataset, cast(Store, SyntheticObjects(span)), ledger)
        return _registered(found.new, start)


def register_by_events(url: str, span: Span, together: int = 500) -> Registering:
    """Take events of the objects into the ledger, so many in a transaction."""
    dataset = Dataset.model_validate(DECLARATION)
    objects = SyntheticObjects(span)
    new = 0
    with Ledger.open(url) as ledger:
        start = time.monotonic()
        for first in range(span.start, span.end, together):
            told = [object_of(number) for number in range(first, min(first + together, span.end))]
            events = [ObjectEvent("created", "bench", item.key, item.etag) for item in told]
            new += take_in(events, "", [dataset], cast(Store, objects), ledger).new
        return _registered(new, start)


def _registered(files: int, start: float) -> Registering:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Registering(files, time.monotonic() - start, peak)


def work(url: str, workers: int, manifest_files: int) -> tuple[Worked, float]:
    """Claim and commit whatever waits, by so many processes at once; their seconds together, and those that passed."""
    start = time.monotonic()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        done = [pool.submit(_worker, url, number, manifest_files) for number in range(workers)]
        worked = [future.result() for future in done]
    claims = [second for one in worked for second in one.claims]
    commits = [second for one in worked for second in one.commits]
    return Worked(claims, commits), time.monotonic() - start


def _worker(url: str, number: int, manifest_files: int) -> Worked:
    worked = Worked([], [])
    with Ledger.open(url) as ledger:
        while groups := ledger.backlog("events"):
            group = groups[number % len(groups)].landing_group
            start = time.monotonic()
            manifest = ledger.claim_manifest("events", group, manifest_files, 2**62)
            claimed = time.monotonic() - start
            if manifest is None:
                continue
            worked.claims.append(claimed)
            attempt = ledger.begin_attempt("events", manifest.manifest_id, f"bench-{number}", _LEASE)
            files = [
                FileOutcome(file.id, "SUCCEEDED", rows_read=10, rows_written=10)
                for file in ledger.manifest_files("events", manifest.manifest_id)
            ]
            name = f"curated/events/{manifest.manifest_id}-a{attempt}"
            outputs = [OutputFile(f"{name}-{part}.parquet", len(files), 1_000_000) for part in range(_OUTPUTS)]
            start = time.monotonic()
            ledger.commit_manifest("events", manifest.manifest_id, attempt, files=files, outputs=outputs)
            worked.commits.append(time.monotonic() - start)
            for moved in batched(manifest.files, _MOVED):
                ledger.record_archived("events", [(file.id, "archive/" + file.key) for file in moved])
            ledger.settle("events", manifest.manifest_id, keep=False)
    return worked
