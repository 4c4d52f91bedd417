"""Messages of the events queue: news out of every envelope, nothing to do, or poison, and never an exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.discovery.envelopes import News, Nothing, ObjectEvent, Poison, newest, read_message

BUCKET = "lake"
ONE = ObjectEvent("created", BUCKET, "raw/a b+ü%2F.json", "d41d8c", "0055AED6DCD90281E5")


def record(event: ObjectEvent = ONE, name: str = "", **more: Any) -> dict[str, Any]:
    """The event as S3 itself says it. (Event message structure, S3 User Guide.)"""
    name = name or {"created": "ObjectCreated:Put", "deleted": "ObjectRemoved:Delete"}[event.kind]
    thing = {"key": quote_plus(event.key), "size": 1024, "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko"}
    if event.etag is not None:
        thing["eTag"] = event.etag
    if event.sequencer is not None:
        thing["sequencer"] = event.sequencer
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "arrivals",
            "bucket": {"name": event.bucket, "arn": f"arn:aws:s3:::{event.bucket}"},
            "object": thing,
        },
        **more,
    }


def own(*events: ObjectEvent) -> str:
    return json.dumps({"Records": [record(event) for event in events]})


def notification(message: str) -> str:
    """What SNS makes of it, without raw delivery."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:arrivals",
            "Subject": "Amazon S3 Notification",
            "Message": message,
            "Timestamp": "2026-02-01T00:00:00.000Z",
        }
    )


def bridged(event: ObjectEvent = ONE, kind: str = "", source: str = "aws.s3") -> str:
    """The event as EventBridge says it. (EventBridge event message structure, S3 User Guide.)"""
    thing = {"key": event.key, "size": 5, "etag": event.etag, "version-id": "IYV3p45", "sequencer": event.sequencer}
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": kind or f"Object {event.kind.title()}",
            "source": source,
            "account": "111122223333",
            "time": "2021-11-12T00:00:00Z",
            "resources": [f"arn:aws:s3:::{event.bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": event.bucket},
                "object": {name: value for name, value in thing.items() if value is not None},
                "reason": "PutObject",
            },
        }
    )


ENVELOPES: dict[str, Callable[[ObjectEvent], str]] = {
    "s3": own,
    "sns": lambda event: notification(own(event)),
    "eventbridge": bridged,
    "eventbridge over sns": lambda event: notification(bridged(event)),
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_envelope_says_the_same(envelope: str) -> None:
    assert read_message(ENVELOPES[envelope](ONE), BUCKET) == News((ONE,))


# What S3 accepts as a key is any UTF-8.
keys = st.text(st.characters(codec="utf-8"), min_size=1)
events = st.builds(
    ObjectEvent,
    st.sampled_from(["created", "deleted"]),
    st.just(BUCKET),
    keys,
    st.none() | st.text("0123456789abcdef-", min_size=1),
    st.none() | st.text("0123456789ABCDEF", min_size=1, max_size=20),
)


@given(events, st.sampled_from(sorted(ENVELOPES)))
def test_any_key_arrives_as_it_is(event: ObjectEvent, envelope: str) -> None:
    assert read_message(ENVELOPES[envelope](event), BUCKET) == News((event,))


@given(st.lists(events, min_size=1, max_size=5))
def test_a_message_may_hold_several_records(several: list[ObjectEvent]) -> None:
    assert read_message(own(*several), BUCKET) == News(tuple(several))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Put", "created"),
        ("ObjectCreated:Post", "created"),
        ("ObjectCreated:Copy", "created"),
        ("ObjectCreated:CompleteMultipartUpload", "created"),
        ("s3:ObjectCreated:Put", "created"),
        ("ObjectRemoved:Delete", "deleted"),
        ("ObjectRemoved:DeleteMarkerCreated", "deleted"),
        ("LifecycleExpiration:Delete", "deleted"),
        ("LifecycleExpiration:DeleteMarkerCreated", "deleted"),
    ],
)
def test_each_way_to_make_or_delete_an_object_is_news(name: str, kind: str) -> None:
    read = read_message(json.dumps({"Records": [record(name=name)]}), BUCKET)
    assert isinstance(read, News)
    assert [event.kind for event in read.events] == [kind]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"}', "tests whether it may send"),
        (notification('{"Service": "Amazon S3", "Event": "s3:TestEvent"}'), "tests whether it may send"),
        ('{"Records": []}', "no object was created or deleted"),
        (json.dumps({"Records": [record(name="ObjectTagging:Put")]}), "no object was created or deleted"),
        (json.dumps({"Records": [record(name="ReducedRedundancyLostObject")]}), "no object was created or deleted"),
        (bridged(kind="Object Tags Added"), "no object was created or deleted"),
        (bridged(kind="Object Restore Completed"), "no object was created or deleted"),
    ],
)
def test_a_message_that_asks_for_nothing_says_why(body: str, why: str) -> None:
    read = read_message(body, BUCKET)
    assert isinstance(read, Nothing)
    assert why in read.why


NO_KEY: dict[str, Any] = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("hello", "no event of S3: JSON is malformed"),
        ("", "no event of S3: Input data was truncated"),
        ("[1]", "no event of S3: Expected `object`, got `array`"),
        ('{"a":' * 100_000, "no event of S3: maximum recursion depth"),
        ('{"user": "signed up"}', "neither of S3, of SNS nor of EventBridge"),
        ('{"Type": "SubscriptionConfirmation", "Token": "x"}', "neither of S3, of SNS nor of EventBridge"),
        ('{"Records": [{"eventSource": "aws:dynamodb", "eventName": "INSERT"}]}', "an event of aws:dynamodb"),
        (bridged(source="aws.ec2"), "an event of aws.ec2"),
        (json.dumps({"Records": [NO_KEY]}), "missing required field `object` - at `$[0].s3`"),
        (json.dumps({"Records": [record(s3=None)]}), "ObjectCreated:Put names no object"),
        ('{"Records": "none"}', "Expected `array`, got `str`"),
        (own(ONE).replace("raw", "raw%ff"), "invalid start byte"),
        (notification(notification(notification(own(ONE)))), "too many envelopes"),
        (notification("good morning"), "no event of S3: JSON is malformed"),
    ],
    ids=lambda text: text[:30],
)
def test_poison_says_why_nothing_can_be_made_of_it(body: str, why: str) -> None:
    read = read_message(body, BUCKET)
    assert isinstance(read, Poison)
    assert why in read.why
    assert not read.foreign


def test_another_buckets_event_is_foreign_and_so_is_one_beside_the_lakes_root() -> None:
    beside = ObjectEvent("created", BUCKET, "lakes/raw/a", "e")
    within = ObjectEvent("created", BUCKET, "lake/raw/a", "e")
    other = ObjectEvent("created", "other", "lake/raw/a", "e")

    assert read_message(own(within), BUCKET, "lake/") == News((within,))
    for event in (beside, other):
        read = read_message(own(event), BUCKET, "lake/")
        assert isinstance(read, Poison)
        assert read.foreign
        assert f"s3://{event.bucket}/{event.key}" in read.why


def test_what_is_ours_beside_what_is_foreign_is_not_passed_over() -> None:
    other = ObjectEvent("created", "other", "raw/a", "e")
    read = read_message(own(ONE, other), BUCKET)
    assert isinstance(read, Poison)
    assert read.events == (ONE,)


WORDS = ["Records", "s3", "object", "bucket", "key", "name", "eventName", "eventSource", "detail", "source", "Message"]
WORDS += ["detail-type", "Type", "Event"]
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(WORDS) | st.text(),
            inner,
        )
    ),
    max_leaves=20,
)


@given(documents.map(json.dumps) | st.text())
def test_no_message_is_an_exception(body: str) -> None:
    assert isinstance(read_message(body, BUCKET), News | Nothing | Poison)


@given(st.data())
def test_a_message_broken_anywhere_is_never_other_news(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from([own(ONE), notification(own(ONE)), bridged()]))
    at = data.draw(st.integers(0, len(body) - 1))
    assert isinstance(read_message(body[:at], BUCKET), Poison)


def at(sequencer: str | None, kind: Any = "created", etag: str | None = "e") -> ObjectEvent:
    return ObjectEvent(kind, BUCKET, "raw/a", etag, sequencer)


def test_the_later_of_two_events_counts_though_sequencers_differ_in_length() -> None:
    early, late = at("FF", etag="old"), at("0100", etag="new")
    assert newest([late, early]) == newest([early, late]) == [late]
    assert newest([at("0FF"), at("100", "deleted")]) == [at("100", "deleted")]


@given(st.permutations([at(f"{number:X}", etag=str(number)) for number in (1, 9, 15, 16, 255, 4096)] * 2))
def test_duplicates_and_disorder_leave_the_newest_event_of_a_key(shuffled: list[ObjectEvent]) -> None:
    assert newest(shuffled) == [at("1000", etag="4096")]


@given(st.lists(st.none() | st.text("0123456789abcdefABCDEFx_-+ ", max_size=4), min_size=1))
def test_whatever_the_sequencers_an_event_of_the_key_is_left(sequencers: list[str | None]) -> None:
    assert newest([at(sequencer, etag=str(number)) for number, sequencer in enumerate(sequencers)])


def test_events_of_different_keys_do_not_overtake_each_other() -> None:
    other = ObjectEvent("created", BUCKET, "raw/b", "e", "01")
    assert newest([at("02"), other]) == [at("02"), other]


def test_an_event_without_a_usable_sequencer_is_kept_beside_the_others() -> None:
    assert newest([at("02"), at(None), at("zz")]) == [at("02"), at(None), at("zz")]
