"""How often AWS is asked for some work; pure. A test counts what is really asked, and compares."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from lake_pipeline.costs.prices import Prices

# What one pass over a dataset asks for, however little there is to do: `finish_interrupted`, the lake's identity.
_PASS = {"list": 3, "put": 2, "get": 5, "catalog": 5}
# What each manifest asks for: its documents (as planned, as landed, as converted), the results, the commit, the mark.
_MANIFEST = {"list": 1, "put": 6, "get": 7, "head": 5, "delete": 1, "catalog": 2}
# What each raw file asks for: it is read once; and archived, under a name that is looked at first.
_FILE = {"get": 1}
_ARCHIVED_FILE = {"copy": 1, "head": 1}
# What each curated file asks for: staged, published, its rows counted, its partition's listing for readers.
_OUTPUT = {"put": 2, "copy": 1, "get": 1, "head": 2}
_LISTED = _DELETED = 1000  # keys a request
# Larger objects are sent, and copied, in parts: a request each, one to begin and one to end.
_PART, _LARGEST_COPY, _COPIED_PART = 16 * 2**20, 5 * 2**30, 256 * 2**20
# A run on Glue leaves its context and its messages in the store, where they are looked for every two seconds.
_GLUE_MESSAGES, _GLUE_LOOK_SECONDS = 2, 2.0
# An event of S3: sent, and received and deleted with nine others; the object is looked at.
_SQS_EVENT = 1 + 1 / 10 + 1 / 10


@dataclass(frozen=True)
class Work:
    """What is to be done, or was: manifests, raw and curated files, and the bytes of each."""

    manifests: int
    files: int
    bytes: int
    outputs: int
    output_bytes: int


@dataclass(frozen=True)
class Requests:
    """Requests by class: S3's, the Glue Data Catalog's, and the queue's."""

    list: int = 0
    put: int = 0
    copy: int = 0
    get: int = 0
    head: int = 0
    delete: int = 0
    catalog: int = 0
    sqs: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})

    def times(self, number: int) -> Requests:
        """So many of them."""
        return Requests(**{name: count * number for name, count in vars(self).items()})

    def dollars(self, prices: Prices) -> float:
        """What they cost."""
        writes = self.list + self.put + self.copy
        return (writes * prices.s3_write + (self.get + self.head) * prices.s3_read) / 1e3 + (
            self.catalog * prices.glue_catalog + self.sqs * prices.sqs
        ) / 1e6


def conversion_requests(work: Work, *, archives: bool = True, glue_seconds: float = 0) -> Requests:
    """What converting asks for, from plan to archive, if raw files are moved there.

    `glue_seconds` are those of runs on Glue, waited for.
    """
    archived = work.files if archives else 0
    size = ceil(work.output_bytes / work.outputs) if work.outputs else 0
    raw = ceil(work.bytes / work.files) if work.files else 0
    return (
        Requests(**_MANIFEST).times(work.manifests)
        + Requests(**_FILE).times(work.files)
        + Requests(**_ARCHIVED_FILE).times(archived)
        + Requests(**_OUTPUT).times(work.outputs)
        + Requests(put=_parts(size, _PART, _PART)).times(work.outputs)
        + Requests(copy=_parts(size, _LARGEST_COPY, _COPIED_PART)).times(work.outputs)
        + Requests(copy=_parts(raw, _LARGEST_COPY, _COPIED_PART)).times(archived)
        + Requests(delete=_archive_deletes(archived, work.manifests))
        + Requests(
            put=_GLUE_MESSAGES * work.manifests * (glue_seconds > 0), get=ceil(glue_seconds / _GLUE_LOOK_SECONDS)
        )
    )


def discovery_requests(files: int, *, by_events: bool) -> Requests:
    """What finding so many files asks for: one listing, or an event each."""
    found = Requests(sqs=ceil(files * _SQS_EVENT), head=files) if by_events else Requests(list=ceil(files / _LISTED))
    return Requests(**_PASS) + found


def _archive_deletes(files: int, manifests: int) -> int:
    """A thousand keys each, and one a manifest at least."""
    return max(ceil(files / _DELETED), min(files, manifests))


def _parts(size: int, largest: int, part: int) -> int:
    """Requests that an object of this size takes beyond its first."""
    return ceil(size / part) + 1 if size > largest else 0
