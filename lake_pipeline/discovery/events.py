"""The events queue → ledger: received, registered, committed, and only then deleted from the queue."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.envelopes import News, Nothing, Poison, read_message
from lake_pipeline.discovery.news import take_in
from lake_pipeline.discovery.queue import BATCH, Message, Queue
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store

logger = logging.getLogger(__name__)

CIRCUIT = "events"
RECEIVERS = 4
# SQS's longest: an empty queue is then asked three times a minute. Once there was something, what is left is there.
LONG_POLL_SECONDS = 20
_SHORT_POLL_SECONDS = 1
# More than a batch can take from its first receive to its deletion.
VISIBILITY_SECONDS = 120
# A transaction of the ledger for so many messages, not for each ten.
_TOGETHER = 500
_GATHERING_SECONDS = 2.0


@dataclass(frozen=True)
class Drained:
    """What came of a queue's messages.

    `new` and `deleted` count versions in the ledger; the others count messages: those that asked for nothing, and
    those left in the queue because they are another lake's, poison, or of an object that could not be looked at.
    """

    messages: int = 0
    new: int = 0
    deleted: int = 0
    nothing: int = 0
    foreign: int = 0
    poison: int = 0
    failed: int = 0

    def __add__(self, other: Drained) -> Drained:
        return Drained(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


@dataclass(frozen=True)
class Receiver:
    """What it takes to turn messages into rows of the ledger."""

    queue: Queue
    bucket: LakeBucket
    datasets: tuple[Dataset, ...]
    store: Store
    ledger: Ledger
    visibility: int = VISIBILITY_SECONDS

    def drain(self, *, seconds: float, most: int = 50_000, receivers: int = RECEIVERS) -> Drained:
        """Take messages until the queue is empty, `seconds` have passed or about `most` were taken.

        May be repeated, killed anywhere and run beside others: a message is deleted after its rows were committed.

        Raises:
            CircuitOpen: the queue, the store or the ledger has kept failing; nothing was received.
            QueueError, StoreError, LedgerError: one of them failed; what was received comes again.
        """
        deadline = time.monotonic() + seconds
        with self.ledger.breaker(CIRCUIT):
            # Poison goes back at once, to be a dead letter soon; where there is no such queue it would go in circles.
            hasten = self.queue.dead_letters() is not None
            total = self._settle(self._gather(deadline, LONG_POLL_SECONDS, most), hasten)
        share = (most - total.messages) // receivers
        if total.messages < BATCH:
            return total

        def receive() -> Drained:
            mine = Drained()
            while mine.messages < share and time.monotonic() < deadline:
                with self.ledger.breaker(CIRCUIT):
                    messages = self._gather(deadline, _SHORT_POLL_SECONDS, share - mine.messages)
                    taken = self._settle(messages, hasten)
                mine += taken
                if taken.messages == taken.foreign + taken.poison:
                    break
            return mine

        with ThreadPoolExecutor(receivers) as pool:
            for future in [pool.submit(receive) for _ in range(receivers)]:
                total += future.result()
        return total

    def _gather(self, deadline: float, wait: int, most: int) -> list[Message]:
        """Some batches, as many as come within a moment of the first, for which it waits up to `wait` seconds."""
        left = max(0, int(deadline - time.monotonic()))
        messages = self.queue.receive(wait=min(wait, left), visibility=self.visibility, most=most)
        until = min(deadline, time.monotonic() + _GATHERING_SECONDS)
        while messages and len(messages) < min(_TOGETHER, most) and time.monotonic() < until:
            more = self.queue.receive(wait=0, visibility=self.visibility)
            if not more:
                break
            messages += more
        return messages

    def _settle(self, messages: list[Message], hasten: bool) -> Drained:
        read = [(message, read_message(message.body, self.bucket.name, self.bucket.prefix)) for message in messages]
        events = [event for _, what in read if not isinstance(what, Nothing) for event in what.events]
        failpoint("discovery.received")
        taken = take_in(events, self.bucket.prefix, self.datasets, self.store, self.ledger)
        poison = [(message, what) for message, what in read if isinstance(what, Poison)]
        again = [
            message
            for message, what in read
            if isinstance(what, News) and any(event.key in taken.failed for event in what.events)
        ]
        for message, what in poison:
            logger.warning("message %s is left in the queue: %s", message.id, what.why)
        for key, error in taken.failed.items():
            logger.warning("an event of %s comes again: %s", key, error)
        left = {message.id for message, _ in poison} | {message.id for message in again}
        failpoint("discovery.told")
        self.queue.delete([message for message in messages if message.id not in left])
        if hasten:
            self.queue.release([message for message, _ in poison])
        return Drained(
            messages=len(messages),
            new=taken.new,
            deleted=taken.deleted,
            nothing=sum(isinstance(what, Nothing) for _, what in read),
            foreign=sum(what.foreign for _, what in poison),
            poison=sum(not what.foreign for _, what in poison),
            failed=len(again),
        )
