"""Dead letters: messages of the events queue that were received three times in vain, shown and sent back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.envelopes import Poison, read_message
from lake_pipeline.discovery.queue import Message, Queue
from lake_pipeline.errors import SettingsError
from lake_pipeline.settings import Settings

# What was received is hidden for so long, so that each message comes once; it is released as soon as all were seen.
_HIDDEN_SECONDS = 120
# A short poll may miss some of the servers that hold messages; this long is a long poll.
_WAIT_SECONDS = 1
# Clocks differ, and SQS's sets the time of sending.
_CLOCK_SECONDS = 2


def events_queue(settings: Settings) -> Queue:
    """The queue that dead letters go back to.

    Raises:
        SettingsError: LAKE_EVENTS_QUEUE is not set.
    """
    if settings.events_queue is None:
        raise SettingsError("LAKE_EVENTS_QUEUE is not set, so there is no queue of events")
    return Queue(settings.events_queue)


def dead_letter_queue(settings: Settings) -> Queue:
    """LAKE_EVENTS_DLQ, or the queue that the redrive policy of the events queue names.

    Raises:
        SettingsError: there is neither.
        QueueError: SQS does not know the queue.
    """
    if settings.events_dlq is not None:
        return Queue(settings.events_dlq)
    found = events_queue(settings).dead_letters()
    if found is None:
        raise SettingsError(
            f"{settings.events_queue} has no redrive policy, so poison goes round in it; give it one with"
            " maxReceiveCount 3, or set LAKE_EVENTS_DLQ"
        )
    return found


def reason(message: Message, bucket: LakeBucket) -> str | None:
    """Why nothing could be made of a message; None where something can, by now."""
    read = read_message(message.body, bucket.name, bucket.prefix)
    return read.why if isinstance(read, Poison) else None


def look_through(queue: Queue, most: int) -> list[Message]:
    """Messages of a queue, each once, `most` about; others may receive them again when this returns."""
    seen: list[Message] = []
    try:
        for messages in _received(queue):
            seen += messages
            if len(seen) >= most:
                break
    finally:
        queue.release(seen)
    return seen


def redrive(source: Queue, dead: Queue, chosen: Callable[[Message], bool]) -> Iterator[Message]:
    """Send chosen dead letters back, each when it is asked for; a message is deleted only when its copy was sent.

    Killed in between, it leaves a message in both queues, which does no harm. What dies again meanwhile is left alone.
    """
    began = datetime.fromtimestamp(time.time() + _CLOCK_SECONDS, UTC)
    left: list[Message] = []
    try:
        for messages in _received(dead):
            for message in messages:
                if message.sent_at < began and chosen(message):
                    source.send(message)
                    dead.delete([message])
                    yield message
                else:
                    left.append(message)
    finally:
        dead.release(left)


def _received(queue: Queue) -> Iterator[list[Message]]:
    while messages := queue.receive(wait=_WAIT_SECONDS, visibility=_HIDDEN_SECONDS):
        yield messages
