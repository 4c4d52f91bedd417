"""S3's events through SQS into the ledger, over the wire: nothing lost, nothing twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import psycopg
import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.server import Operation, Refused
from lake_pipeline.circuit import THRESHOLD
from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.envelopes import ObjectEvent
from lake_pipeline.discovery.events import Drained, Receiver
from lake_pipeline.discovery.listing import discover
from lake_pipeline.discovery.queue import Queue
from lake_pipeline.errors import CircuitOpen, LedgerError, QueueError, StoreError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store
from lake_pipeline_tests.aws import Arrivals, arrivals, serving
from lake_pipeline_tests.ledger_samples import claim, convert
from lake_pipeline_tests.test_envelopes import record


def dataset(name: str, prefix: str) -> Dataset:
    source = {"prefix": prefix, "group": "{year}/{week}/"}
    return Dataset.model_validate({"name": name, "source": source, "output": {"prefix": f"curated/{name}/"}})


EVENTS = dataset("events", "raw/")
TRIPS = dataset("trips", "trips/")


@pytest.fixture
def at(aws: dict[str, str]) -> Arrivals:
    return arrivals(aws)


def receiver(variables: Mapping[str, str], ledger: Ledger, *, visibility: int = 120) -> Receiver:
    store = variables["LAKE_STORE"]
    bucket = LakeBucket.of(store, "the queue")
    return Receiver(Queue(variables["LAKE_EVENTS_QUEUE"]), bucket, (EVENTS, TRIPS), Store(store), ledger, visibility)


def drain(at: Arrivals, ledger: Ledger, **more: Any) -> Drained:
    return receiver(at.variables, ledger, **more).drain(seconds=1)


def told(at: Arrivals, event: ObjectEvent, name: str = "") -> str:
    """A message of an event, whose key is below the lake's root."""
    return json.dumps({"Records": [record(replace(event, key=at.bucket.prefix + event.key), name)]})


def states(ledger: Ledger, name: str = "events") -> list[tuple[str, str]]:
    return [(file.s3_key, file.status) for file in ledger.files(name)]


def test_what_lands_is_registered_by_dataset_as_a_listing_would_have_it(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/2026/week07/one file+ü.json", b"{}")
    at.put("trips/b.json", b"[]")
    at.put("curated/events/c.parquet")

    assert drain(at, ledger) == Drained(messages=3, new=2)

    (file,) = ledger.files("events")
    assert (file.s3_key, file.landing_group, file.size) == ("raw/2026/week07/one file+ü.json", "2026/week07", 2)
    assert states(ledger, "trips") == [("trips/b.json", "PENDING")]
    assert discover(EVENTS, Store(at.store), ledger).new == 0
    assert at.left() == 0


def test_what_lies_beside_the_lakes_root_is_foreign(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/a.json")
    at.s3.put_object(Bucket=at.bucket.name, Key="lakes/raw/b.json", Body=b"{}")

    assert drain(at, ledger) == Drained(messages=2, new=1, foreign=1)
    assert states(ledger) == [("raw/a.json", "PENDING")]


@pytest.mark.parametrize("way", ["sns", "sns, raw", "eventbridge"])
def test_news_come_by_sns_and_by_eventbridge_too(way: str, at: Arrivals, ledger: Ledger) -> None:
    (queue,) = at.sqs.get_queue_attributes(QueueUrl=at.queue, AttributeNames=["QueueArn"])["Attributes"].values()
    if way == "eventbridge":
        bridge = client("events")
        bridge.put_rule(Name="arrivals", EventPattern=json.dumps({"source": ["aws.s3"]}))
        bridge.put_targets(Rule="arrivals", Targets=[{"Id": "queue", "Arn": queue}])
        configuration: dict[str, Any] = {"EventBridgeConfiguration": {}}
    else:
        sns = client("sns")
        topic = sns.create_topic(Name="arrivals")["TopicArn"]
        raw = {"RawMessageDelivery": str(way == "sns, raw").lower()}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=raw)
        configuration = {"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]}
    at.s3.put_bucket_notification_configuration(Bucket=at.bucket.name, NotificationConfiguration=configuration)
    at.put("raw/one file+ü.json")
    at.remove("raw/one file+ü.json")
    at.put("raw/one file+ü.json")

    assert drain(at, ledger).new == 1
    assert states(ledger) == [("raw/one file+ü.json", "PENDING")]
    assert at.left() == 0


def test_an_event_that_comes_twice_is_registered_once(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/a.json")
    (body,) = at.take()
    at.send(body, body)

    assert drain(at, ledger) == Drained(messages=2, new=1)
    at.send(body)
    assert drain(at, ledger) == Drained(messages=1)


def test_a_late_event_of_an_older_version_does_not_supersede_the_newer_one(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/a.json", b"[1]")
    at.put("raw/a.json", b"[1, 2]")
    first, second = at.take()
    at.send(second)
    drain(at, ledger)
    at.send(first)
    drain(at, ledger)

    assert [(file.size, file.status) for file in ledger.files("events")] == [(6, "PENDING")]


def test_a_late_event_of_what_was_archived_is_no_new_file(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/2026/week07/a.json", b"[1]")
    at.put("raw/2026/week07/a.json", b"[1, 2]")
    first, second = at.take()
    at.send(second)
    drain(at, ledger)
    convert(ledger, claim(ledger).manifest_id)
    at.remove("raw/2026/week07/a.json")  # as the archive's move does
    at.send(first, second)
    drain(at, ledger)

    assert states(ledger) == [("raw/2026/week07/a.json", "SUCCEEDED")]
    assert at.left() == 0


def test_a_new_version_supersedes_the_old_one(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/a.json", b"[1]")
    drain(at, ledger)
    at.put("raw/a.json", b"[1, 2]")
    drain(at, ledger)

    assert [(file.size, file.status) for file in ledger.files("events")] == [(3, "SUPERSEDED"), (6, "PENDING")]


def test_a_file_deleted_before_it_was_converted_waits_no_more_until_it_lands_again(
    at: Arrivals, ledger: Ledger
) -> None:
    at.put("raw/a.json")
    drain(at, ledger)
    at.remove("raw/a.json")

    assert drain(at, ledger) == Drained(messages=1, deleted=1)
    (file,) = ledger.files("events")
    assert (file.status, file.error_class) == ("SUPERSEDED", "ObjectDeleted")
    assert file.error_message == "deleted from the store before it was converted"
    assert ledger.backlog("events") == []

    at.put("raw/a.json")
    assert drain(at, ledger).new == 1
    assert states(ledger) == [("raw/a.json", "PENDING")]


def test_a_deletion_changes_nothing_of_what_is_converted_or_being_converted(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/2026/week07/done.json")
    at.put("raw/2026/week08/running.json")
    drain(at, ledger)
    convert(ledger, claim(ledger).manifest_id)
    claim(ledger, "2026/week08")
    for key in ("raw/2026/week07/done.json", "raw/2026/week08/running.json"):
        at.remove(key)

    assert drain(at, ledger) == Drained(messages=2)
    assert states(ledger) == [
        ("raw/2026/week07/done.json", "SUCCEEDED"),
        ("raw/2026/week08/running.json", "PROCESSING"),
    ]


def test_an_object_whose_deletion_overtook_its_creation_is_not_registered(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/_temporary/a.json")
    at.remove("raw/_temporary/a.json")
    created, deleted = at.take()
    at.send(deleted)
    drain(at, ledger)
    at.send(created)

    assert drain(at, ledger) == Drained(messages=1)
    assert states(ledger) == []


def test_in_a_versioned_bucket_only_the_current_version_counts(at: Arrivals, ledger: Ledger) -> None:
    at.s3.put_bucket_versioning(Bucket=at.bucket.name, VersioningConfiguration={"Status": "Enabled"})
    first = at.put("raw/a.json", b"[1]")
    at.put("raw/a.json", b"[1, 2]")
    at.put("raw/b.json")
    drain(at, ledger)
    at.remove("raw/a.json", VersionId=first)
    at.remove("raw/b.json")
    # moto is silent about both.
    for key, name in (("raw/a.json", "ObjectRemoved:Delete"), ("raw/b.json", "ObjectRemoved:DeleteMarkerCreated")):
        at.send(told(at, ObjectEvent("deleted", at.bucket.name, key), name))
    drain(at, ledger)

    assert [(file.s3_key, file.size, file.status) for file in ledger.files("events")] == [
        ("raw/a.json", 6, "PENDING"),
        ("raw/b.json", 3, "SUPERSEDED"),
    ]


def test_poison_and_foreign_messages_are_dead_letters_after_three_receives(at: Arrivals, ledger: Ledger) -> None:
    foreign = json.dumps({"Records": [record(ObjectEvent("created", "other", "raw/a", "e"))]})
    at.send("hello", foreign)
    at.put("raw/a.json")

    assert drain(at, ledger) == Drained(messages=3, new=1, foreign=1, poison=1)
    assert at.left(at.dead_letters) == 0
    for _ in range(2):
        assert drain(at, ledger) == Drained(messages=2, foreign=1, poison=1)
    assert drain(at, ledger) == Drained()
    assert (at.left(), at.left(at.dead_letters)) == (0, 2)


def test_what_is_ours_in_a_foreign_message_is_registered_all_the_same(at: Arrivals, ledger: Ledger) -> None:
    at.put("raw/a.json")
    ours = json.loads(at.take()[0])["Records"]
    at.send(json.dumps({"Records": [*ours, record(ObjectEvent("created", "other", "raw/b", "e"))]}))

    assert drain(at, ledger) == Drained(messages=1, new=1, foreign=1)
    assert at.left() == 1


def test_without_a_dead_letter_queue_poison_does_not_go_in_circles(at: Arrivals, ledger: Ledger) -> None:
    queue = at.sqs.create_queue(QueueName="no-dead-letters")["QueueUrl"]
    for number in range(20):
        at.sqs.send_message(QueueUrl=queue, MessageBody=f"poison {number}")

    here = receiver({**at.variables, "LAKE_EVENTS_QUEUE": queue}, ledger)
    assert here.drain(seconds=1) == Drained(messages=20, poison=20)


def test_nothing_is_deleted_before_the_ledger_has_committed(at: Arrivals, ledger: Ledger, database_url: str) -> None:
    at.put("raw/a.json")
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE lake.live_files ADD CONSTRAINT disk_full CHECK (size < 0)")
    with pytest.raises(LedgerError, match="disk_full"):
        drain(at, ledger, visibility=1)
    assert at.left() == 1
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE lake.live_files DROP CONSTRAINT disk_full")

    assert receiver(at.variables, ledger).drain(seconds=5).new == 1
    assert (states(ledger), at.left()) == ([("raw/a.json", "PENDING")], 0)


def test_a_message_that_could_not_be_deleted_comes_again_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    def refuse(request: dict[str, Any]) -> dict[str, Any]:
        entries = [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in request["Entries"]]
        return {"Successful": [], "Failed": entries}

    with serving(monkeypatch, {"AmazonSQS.DeleteMessageBatch": refuse}) as at:
        at.put("raw/a.json")
        assert drain(at, ledger, visibility=1).new == 1
        again = receiver(at.variables, ledger).drain(seconds=5)

    assert again == Drained(messages=1)
    assert states(ledger) == [("raw/a.json", "PENDING")]


def drain_in_a_process(url: str, variables: dict[str, str]) -> None:
    with Ledger.open(url) as ledger:
        receiver(variables, ledger, visibility=1).drain(seconds=5)


def test_a_receiver_killed_between_commit_and_deletion_loses_nothing_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, database_url: str
) -> None:
    asked, killed = threading.Event(), threading.Event()

    def never(_: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        killed.wait(60)
        raise Refused("ServiceUnavailable", "the asker is gone")

    operations: dict[str, Operation] = {"AmazonSQS.DeleteMessageBatch": never}
    with serving(monkeypatch, operations) as at:
        for number in range(30):
            at.put(f"raw/{number:02}.json", b"[%d]" % number)
        process = multiprocessing.get_context("spawn").Process(
            target=drain_in_a_process, args=(database_url, dict(at.variables))
        )
        process.start()
        assert asked.wait(60)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed.set()
        assert len(states(ledger)) >= 10  # committed
        assert at.left() == 30  # and nothing deleted
        del operations["AmazonSQS.DeleteMessageBatch"]

        while at.left():
            receiver(at.variables, ledger).drain(seconds=3)

    assert states(ledger) == [(f"raw/{number:02}.json", "PENDING") for number in range(30)]


class _Guarded(BaseHTTPRequestHandler):
    """A store that shows every object but the secret ones."""

    def do_HEAD(self) -> None:
        self.send_response(403 if "secret" in self.path else 200)
        for name, value in {
            "Content-Length": "3",
            "ETag": '"e"',
            "Last-Modified": "Sun, 01 Feb 2026 00:00:00 GMT",
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_object_that_cannot_be_looked_at_comes_again_and_its_neighbours_do_not(
    at: Arrivals, ledger: Ledger, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.put("raw/a.json")
    at.put("raw/secret.json")
    here = receiver(at.variables, ledger)
    monkeypatch.setenv("AWS_ENDPOINT_URL", guarded)  # of the store; the queue's client is there already

    assert here.drain(seconds=1) == Drained(messages=2, new=1, failed=1)
    assert states(ledger) == [("raw/a.json", "PENDING")]
    assert at.left() == 1


def test_a_store_that_shows_nothing_leaves_the_messages_in_the_queue(
    at: Arrivals, ledger: Ledger, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.put("raw/secret.json")
    here = receiver(at.variables, ledger)
    monkeypatch.setenv("AWS_ENDPOINT_URL", guarded)

    with pytest.raises(StoreError, match=r"raw/secret\.json"):
        here.drain(seconds=1)
    assert (at.left(), states(ledger)) == (1, [])


def test_a_queue_that_keeps_failing_is_left_alone(at: Arrivals, ledger: Ledger) -> None:
    at.sqs.delete_queue(QueueUrl=at.queue)
    for _ in range(THRESHOLD):
        with pytest.raises(QueueError, match="NonExistent"):
            drain(at, ledger)
    with pytest.raises(CircuitOpen, match=r"events, after 5 failures in a row, until .*NonExistent"):
        drain(at, ledger)


def test_a_drain_is_bounded_in_count_and_in_time(at: Arrivals, ledger: Ledger) -> None:
    at.send(*(f"poison {number}" for number in range(60)))
    here = receiver(at.variables, ledger)

    assert here.drain(seconds=0).messages == 10
    assert here.drain(seconds=30, most=25, receivers=2).messages < 50


@pytest.mark.parametrize("objects", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_many_objects_doubled_shuffled_and_poisoned_are_registered_once_each(
    objects: int, at: Arrivals, ledger: Ledger, database_url: str
) -> None:
    random.seed(4)
    for number in range(objects):
        at.put(f"raw/2026/week{number % 4:02}/{number:04}.json", b"[%d]" % number)
    bodies = at.take()
    poison = [f"poison {number}" for number in range(objects // 100)]
    bodies += random.sample(bodies, objects // 10) + poison
    random.shuffle(bodies)
    at.send(*bodies)

    with ThreadPoolExecutor(2) as two, Ledger.open(database_url) as other:  # two sensors' ticks at once
        found = [two.submit(receiver(at.variables, each).drain, seconds=30) for each in (ledger, other)]
        total = found[0].result() + found[1].result()
    while at.left():
        total += receiver(at.variables, ledger).drain(seconds=10)

    keys = [key for key, status in states(ledger) if status == "PENDING"]
    assert (len(keys), len(set(keys)), total.new) == (objects, objects, objects)
    assert sorted(at.take(at.dead_letters)) == sorted(poison)
