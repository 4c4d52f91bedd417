"""What a message of the events queue says, out of whichever envelope it came in. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote_plus

import msgspec

Kind = Literal["created", "deleted"]

# The part of S3's own event names before the colon, and EventBridge's detail types. (Event notification types, S3
# User Guide.) What else happens to an object, such as tags or a change of storage class, is no news.
_KINDS: dict[str, Kind] = {
    "ObjectCreated": "created",
    "ObjectRemoved": "deleted",
    "LifecycleExpiration": "deleted",
    "Object Created": "created",
    "Object Deleted": "deleted",
}
# An EventBridge event that SNS passed on is in two envelopes; more than that nobody sends.
_MOST_ENVELOPES = 3


@dataclass(frozen=True)
class ObjectEvent:
    """Something happened to an object; `key` is from the bucket's root, without any encoding.

    `etag` is that of the object created, without quotes. `sequencer` is hexadecimal and orders the events of one key.
    """

    kind: Kind
    bucket: str
    key: str
    etag: str | None = None
    sequencer: str | None = None


@dataclass(frozen=True)
class News:
    """Events of this lake's objects."""

    events: tuple[ObjectEvent, ...]


@dataclass(frozen=True)
class Nothing:
    """A message that is understood and asks for nothing."""

    why: str


@dataclass(frozen=True)
class Poison:
    """A message that nothing can be made of; `events` are those that it holds of this lake beside what is not.

    `foreign` is one that may be another lake's news.
    """

    why: str
    foreign: bool = False
    events: tuple[ObjectEvent, ...] = ()


class _Bucket(msgspec.Struct):
    name: str


class _Object(msgspec.Struct, rename="camel"):
    key: str
    e_tag: str | None = None
    etag: str | None = None
    sequencer: str | None = None


class _Entity(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, rename="camel"):
    event_source: str
    event_name: str
    s3: _Entity | None = None


class _Bridged(msgspec.Struct):
    source: str
    type: str = msgspec.field(name="detail-type")
    detail: dict[str, Any]


def read_message(body: str, bucket: str, prefix: str = "") -> News | Nothing | Poison:
    """What the message says to a lake whose root is `prefix` (empty, or with a slash at its end) of `bucket`."""
    try:
        found = _unwrap(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:  # a message of the wrong shape among them
        return Poison(f"no event of S3: {error}")
    if not isinstance(found, list):
        return found
    ours = tuple(event for event in found if event.bucket == bucket and event.key.startswith(prefix))
    if len(ours) < len(found):
        other = next(event for event in found if event not in ours)
        return Poison(f"of s3://{other.bucket}/{other.key}, which is outside of this lake", foreign=True, events=ours)
    return News(ours) if ours else Nothing("no object was created or deleted")


def newest(events: Iterable[ObjectEvent]) -> list[ObjectEvent]:
    """The events without duplicates, and without those that a later one of their key has overtaken."""
    last: dict[tuple[str, str], int] = {}
    unique = dict.fromkeys(events)
    for event in unique:
        place = (event.bucket, event.key)
        last[place] = max(last.get(place, -1), _order(event))
    # One without a sequencer may be the newest; it stays.
    return [event for event in unique if _order(event) in (-1, last[event.bucket, event.key])]


def _order(event: ObjectEvent) -> int:
    """Where an event stands among those of its key; -1 where it does not say. Sequencers differ in length."""
    try:
        return max(int(event.sequencer or "", 16), -1)
    except ValueError:
        return -1


def _unwrap(body: str, depth: int = 1) -> list[ObjectEvent] | Nothing | Poison:
    message = msgspec.json.decode(body, type=dict[str, Any])
    if message.get("Type") == "Notification" and isinstance(message.get("Message"), str):  # of SNS
        if depth == _MOST_ENVELOPES:
            return Poison("too many envelopes around it")
        return _unwrap(message["Message"], depth + 1)
    if message.get("Event") == "s3:TestEvent":
        return Nothing("S3 tests whether it may send here")
    if "detail-type" in message:
        return _of_event_bridge(msgspec.convert(message, _Bridged))
    if "Records" in message:
        return _of_s3(msgspec.convert(message["Records"], list[_Record]))
    return Poison("neither of S3, of SNS nor of EventBridge")


def _of_event_bridge(event: _Bridged) -> list[ObjectEvent] | Poison:
    if event.source != "aws.s3":
        return Poison(f"an event of {event.source}, not of S3")
    kind = _KINDS.get(event.type)
    return [_event(kind, msgspec.convert(event.detail, _Entity))] if kind else []


def _of_s3(records: list[_Record]) -> list[ObjectEvent] | Poison:
    events = []
    for record in records:
        if record.event_source != "aws:s3":
            return Poison(f"an event of {record.event_source}, not of S3")
        kind = _KINDS.get(record.event_name.removeprefix("s3:").partition(":")[0])
        if kind:
            if record.s3 is None:
                return Poison(f"{record.event_name} names no object")
            # Keys are encoded as in a form: a space is a plus. (Event message structure, S3 User Guide.)
            record.s3.object.key = unquote_plus(record.s3.object.key, errors="strict")
            events.append(_event(kind, record.s3))
    return events


def _event(kind: Kind, of: _Entity) -> ObjectEvent:
    etag = of.object.etag or of.object.e_tag
    return ObjectEvent(kind, of.bucket.name, of.object.key, etag.strip('"') if etag else None, of.object.sequencer)
