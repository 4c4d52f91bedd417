"""One dataset under audit: what is asked, how it is listed, and who is told how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from lake_pipeline.audit.listings import Listing
from lake_pipeline.dataset import Dataset
from lake_pipeline.lake import Lake
from lake_pipeline.store import batched

_T = TypeVar("_T")
# So many suspects are in memory, and looked at again together.
_SUSPECTS = 10_000
_TOLD_EVERY = 10_000
# What is between two steps of a worker, such as a file that was moved and is not recorded, has passed by then.
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Scope:
    """An audit of a dataset, begun at `began`, a time of the ledger's clock.

    `quick` leaves out what reads whole curated files. `tell` hears of a step and how much of it was looked at.
    """

    lake: Lake
    dataset: Dataset
    listing: Listing
    quick: bool = False
    settle_seconds: float = SETTLE_SECONDS
    tell: Callable[[str, int], None] = lambda _step, _count: None
    began: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "began", self.lake.ledger.now())

    def suspects(self, found: Iterable[_T]) -> Iterator[list[_T]]:
        """What did not fit at first sight, to be looked at again: a worker may have been in the midst of it."""
        for batch in batched(found, _SUSPECTS):
            time.sleep(self.settle_seconds)
            yield batch

    def counted(self, step: str, items: Iterable[_T]) -> Iterator[_T]:
        """The items; how many they are is told now and then, and at the end."""
        count = 0
        self.tell(step, 0)
        for count, item in enumerate(items, 1):
            if count % _TOLD_EVERY == 0:
                self.tell(step, count)
            yield item
        self.tell(step, count)
