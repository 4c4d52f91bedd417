"""S3's events through SQS into the ledger, over the wire: nothing lost, nothing twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
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
from lake_pipeline_tests.aws import BUCKET, EVENT_TYPES, Arrivals, arn_of, arrivals
from lake_pipeline_tests.ledger_samples import claim, convert
from lake_pipeline_tests.test_envelopes import record


def dataset(name: str, prefix: str) -> Dataset:
    source = {"prefix": prefix, "group": "{year}/{week}/"}
    return Dataset.model_validate({"name": name, "source": source, "output": {"prefix": f"curated/{name}/"}})


EVENTS = dataset("events", "raw/")
TRIPS = dataset("trips", "trips/")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrivals]:
    with arrivals(monkeypatch) as at:
        yield at


def receiver(queue: str, ledger: Ledger, *, root: str = f"s3://{BUCKET}", visibility: int = 120) -> Receiver:
    bucket = LakeBucket.of(root, "the queue")
    return Receiver(Queue(queue), bucket, (EVENTS, TRIPS), Store(root), ledger, visibility)


def drain(aws: Arrivals, ledger: Ledger, **more: Any) -> Drained:
    return receiver(aws.queue, ledger, **more).drain(seconds=1)


def states(ledger: Ledger, name: str = "events") -> list[tuple[str, str]]:
    return [(file.s3_key, file.status) for file in ledger.files(name)]


def test_what_lands_is_registered_by_dataset_as_a_listing_would_have_it(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/2026/week07/one file+ü.json", b"{}")
    aws.put("trips/b.json", b"[]")
    aws.put("curated/events/c.parquet")

    assert drain(aws, ledger) == Drained(messages=3, new=2)

    (file,) = ledger.files("events")
    assert (file.s3_key, file.landing_group, file.size) == ("raw/2026/week07/one file+ü.json", "2026/week07", 2)
    assert states(ledger, "trips") == [("trips/b.json", "PENDING")]
    assert discover(EVENTS, Store(f"s3://{BUCKET}"), ledger).new == 0
    assert aws.left() == 0


def test_a_lake_below_a_prefix_of_its_bucket_has_keys_without_it(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("team/lake/raw/a.json")
    aws.put("team/lakes/raw/b.json")

    assert drain(aws, ledger, root=f"s3://{BUCKET}/team/lake") == Drained(messages=2, new=1, foreign=1)
    assert states(ledger) == [("raw/a.json", "PENDING")]


@pytest.mark.parametrize("way", ["sns", "sns, raw", "eventbridge"])
def test_news_come_by_sns_and_by_eventbridge_too(way: str, aws: Arrivals, ledger: Ledger) -> None:
    queue = arn_of(aws.sqs, aws.queue)
    if way == "eventbridge":
        bridge = client("events")
        bridge.put_rule(Name="arrivals", EventPattern=json.dumps({"source": ["aws.s3"]}))
        bridge.put_targets(Rule="arrivals", Targets=[{"Id": "queue", "Arn": queue}])
        told: dict[str, Any] = {"EventBridgeConfiguration": {}}
    else:
        sns = client("sns")
        topic = sns.create_topic(Name="arrivals")["TopicArn"]
        raw = {"RawMessageDelivery": str(way == "sns, raw").lower()}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=raw)
        told = {"TopicConfigurations": [{"TopicArn": topic, "Events": EVENT_TYPES}]}
    aws.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=told)
    aws.put("raw/one file+ü.json")
    aws.s3.delete_object(Bucket=BUCKET, Key="raw/one file+ü.json")
    aws.put("raw/one file+ü.json")

    assert drain(aws, ledger).new == 1
    assert states(ledger) == [("raw/one file+ü.json", "PENDING")]
    assert aws.left() == 0


def test_an_event_that_comes_twice_is_registered_once(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/a.json")
    (body,) = aws.take()
    aws.send(body, body)

    assert drain(aws, ledger) == Drained(messages=2, new=1)
    aws.send(body)
    assert drain(aws, ledger) == Drained(messages=1)


def test_a_late_event_of_an_older_version_does_not_supersede_the_newer_one(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/a.json", b"[1]")
    aws.put("raw/a.json", b"[1, 2]")
    first, second = aws.take()
    aws.send(second)
    drain(aws, ledger)
    aws.send(first)
    drain(aws, ledger)

    assert [(file.size, file.status) for file in ledger.files("events")] == [(6, "PENDING")]


def test_a_late_event_of_what_was_archived_is_no_new_file(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/2026/week07/a.json", b"[1]")
    aws.put("raw/2026/week07/a.json", b"[1, 2]")
    first, second = aws.take()
    aws.send(second)
    drain(aws, ledger)
    convert(ledger, claim(ledger).manifest_id)
    aws.s3.delete_object(Bucket=BUCKET, Key="raw/2026/week07/a.json")  # as the archive's move does
    aws.send(first, second)
    drain(aws, ledger)

    assert states(ledger) == [("raw/2026/week07/a.json", "SUCCEEDED")]
    assert aws.left() == 0


def test_a_new_version_supersedes_the_old_one(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/a.json", b"[1]")
    drain(aws, ledger)
    aws.put("raw/a.json", b"[1, 2]")
    drain(aws, ledger)

    assert [(file.size, file.status) for file in ledger.files("events")] == [(3, "SUPERSEDED"), (6, "PENDING")]


def test_a_file_deleted_before_it_was_converted_waits_no_more_until_it_lands_again(
    aws: Arrivals, ledger: Ledger
) -> None:
    aws.put("raw/a.json")
    drain(aws, ledger)
    aws.s3.delete_object(Bucket=BUCKET, Key="raw/a.json")

    assert drain(aws, ledger) == Drained(messages=1, deleted=1)
    (file,) = ledger.files("events")
    assert (file.status, file.error_class) == ("SUPERSEDED", "ObjectDeleted")
    assert file.error_message == "deleted from the store before it was converted"
    assert ledger.backlog("events") == []

    aws.put("raw/a.json")
    assert drain(aws, ledger).new == 1
    assert states(ledger) == [("raw/a.json", "PENDING")]


def test_a_deletion_changes_nothing_of_what_is_converted_or_being_converted(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/2026/week07/done.json")
    aws.put("raw/2026/week08/running.json")
    drain(aws, ledger)
    convert(ledger, claim(ledger).manifest_id)
    claim(ledger, "2026/week08")
    for key in ("raw/2026/week07/done.json", "raw/2026/week08/running.json"):
        aws.s3.delete_object(Bucket=BUCKET, Key=key)

    assert drain(aws, ledger) == Drained(messages=2)
    assert states(ledger) == [
        ("raw/2026/week07/done.json", "SUCCEEDED"),
        ("raw/2026/week08/running.json", "PROCESSING"),
    ]


def test_an_object_whose_deletion_overtook_its_creation_is_not_registered(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/_temporary/a.json")
    aws.s3.delete_object(Bucket=BUCKET, Key="raw/_temporary/a.json")
    created, deleted = aws.take()
    aws.send(deleted)
    drain(aws, ledger)
    aws.send(created)

    assert drain(aws, ledger) == Drained(messages=1)
    assert states(ledger) == []


def test_in_a_versioned_bucket_only_the_current_version_counts(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    with arrivals(monkeypatch, versioned=True) as aws:
        first = aws.s3.put_object(Bucket=BUCKET, Key="raw/a.json", Body=b"[1]")["VersionId"]
        aws.put("raw/a.json", b"[1, 2]")
        aws.put("raw/b.json")
        drain(aws, ledger)
        aws.s3.delete_object(Bucket=BUCKET, Key="raw/a.json", VersionId=first)
        aws.s3.delete_object(Bucket=BUCKET, Key="raw/b.json")
        # moto is silent about both.
        for key, name in (("raw/a.json", "ObjectRemoved:Delete"), ("raw/b.json", "ObjectRemoved:DeleteMarkerCreated")):
            aws.send(json.dumps({"Records": [record(ObjectEvent("deleted", BUCKET, key), name)]}))
        drain(aws, ledger)

    assert [(file.s3_key, file.size, file.status) for file in ledger.files("events")] == [
        ("raw/a.json", 6, "PENDING"),
        ("raw/b.json", 3, "SUPERSEDED"),
    ]


def test_poison_and_foreign_messages_are_dead_letters_after_three_receives(aws: Arrivals, ledger: Ledger) -> None:
    foreign = json.dumps({"Records": [record(ObjectEvent("created", "other", "raw/a", "e"))]})
    aws.send("hello", foreign)
    aws.put("raw/a.json")

    assert drain(aws, ledger) == Drained(messages=3, new=1, foreign=1, poison=1)
    assert aws.left(aws.dead_letters) == 0
    for _ in range(2):
        assert drain(aws, ledger) == Drained(messages=2, foreign=1, poison=1)
    assert drain(aws, ledger) == Drained()
    assert (aws.left(), aws.left(aws.dead_letters)) == (0, 2)


def test_what_is_ours_in_a_foreign_message_is_registered_all_the_same(aws: Arrivals, ledger: Ledger) -> None:
    aws.put("raw/a.json")
    ours = json.loads(aws.take()[0])["Records"]
    aws.send(json.dumps({"Records": [*ours, record(ObjectEvent("created", "other", "raw/b", "e"))]}))

    assert drain(aws, ledger) == Drained(messages=1, new=1, foreign=1)
    assert aws.left() == 1


def test_without_a_dead_letter_queue_poison_does_not_go_in_circles(aws: Arrivals, ledger: Ledger) -> None:
    queue = aws.sqs.create_queue(QueueName="no-dead-letters")["QueueUrl"]
    for number in range(20):
        aws.sqs.send_message(QueueUrl=queue, MessageBody=f"poison {number}")

    assert receiver(queue, ledger).drain(seconds=1) == Drained(messages=20, poison=20)


def test_nothing_is_deleted_before_the_ledger_has_committed(aws: Arrivals, ledger: Ledger, database_url: str) -> None:
    aws.put("raw/a.json")
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE lake.file_processing_status ADD CONSTRAINT disk_full CHECK (size < 0)")
    with pytest.raises(LedgerError, match="disk_full"):
        drain(aws, ledger, visibility=1)
    assert aws.left() == 1
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE lake.file_processing_status DROP CONSTRAINT disk_full")

    assert receiver(aws.queue, ledger).drain(seconds=5).new == 1
    assert (states(ledger), aws.left()) == ([("raw/a.json", "PENDING")], 0)


def test_a_message_that_could_not_be_deleted_comes_again_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    def refuse(request: dict[str, Any]) -> dict[str, Any]:
        entries = [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in request["Entries"]]
        return {"Successful": [], "Failed": entries}

    with arrivals(monkeypatch, {"AmazonSQS.DeleteMessageBatch": refuse}) as aws:
        aws.put("raw/a.json")
        assert drain(aws, ledger, visibility=1).new == 1
        again = receiver(aws.queue, ledger).drain(seconds=5)

    assert again == Drained(messages=1)
    assert states(ledger) == [("raw/a.json", "PENDING")]


def drain_in_a_process(url: str, queue: str) -> None:
    with Ledger.open(url) as ledger:
        receiver(queue, ledger, visibility=1).drain(seconds=5)


def test_a_receiver_killed_between_commit_and_deletion_loses_nothing_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, database_url: str
) -> None:
    asked, killed = threading.Event(), threading.Event()

    def never(_: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        killed.wait(60)
        raise Refused("ServiceUnavailable", "the asker is gone")

    operations: dict[str, Operation] = {"AmazonSQS.DeleteMessageBatch": never}
    with arrivals(monkeypatch, operations) as aws:
        for number in range(30):
            aws.put(f"raw/{number:02}.json", b"[%d]" % number)
        process = multiprocessing.get_context("spawn").Process(
            target=drain_in_a_process, args=(database_url, aws.queue)
        )
        process.start()
        assert asked.wait(60)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed.set()
        assert len(states(ledger)) >= 10  # committed
        assert aws.left() == 30  # and nothing deleted
        del operations["AmazonSQS.DeleteMessageBatch"]

        while aws.left():
            receiver(aws.queue, ledger).drain(seconds=3)

    assert states(ledger) == [(f"raw/{number:02}.json", "PENDING") for number in range(30)]


def test_an_object_that_cannot_be_looked_at_comes_again_and_its_neighbours_do_not(
    aws: Arrivals, ledger: Ledger
) -> None:
    aws.put("raw/a.json")
    aws.send(json.dumps({"Records": [record(ObjectEvent("created", BUCKET, "raw/a/../b.json", "e"))]}))

    assert drain(aws, ledger) == Drained(messages=2, new=1, failed=1)
    assert aws.left() == 1


class _Refusal(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


def test_a_store_that_refuses_leaves_the_messages_in_the_queue(
    aws: Arrivals, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.put("raw/a.json")
    here = receiver(aws.queue, ledger)
    with HTTPServer(("127.0.0.1", 0), _Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(StoreError, match=r"raw/a\.json"):
            replace(here, store=Store(f"s3://{BUCKET}")).drain(seconds=1)
        server.shutdown()
        thread.join()
    assert (aws.left(), states(ledger)) == (1, [])


def test_a_queue_that_keeps_failing_is_left_alone(aws: Arrivals, ledger: Ledger) -> None:
    aws.sqs.delete_queue(QueueUrl=aws.queue)
    for _ in range(THRESHOLD):
        with pytest.raises(QueueError, match="NonExistent"):
            drain(aws, ledger)
    with pytest.raises(CircuitOpen, match=r"events, after 5 failures in a row, until .*NonExistent"):
        drain(aws, ledger)


@pytest.mark.parametrize("objects", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_many_objects_doubled_shuffled_and_poisoned_are_registered_once_each(
    objects: int, aws: Arrivals, ledger: Ledger, database_url: str
) -> None:
    random.seed(4)
    for number in range(objects):
        aws.put(f"raw/2026/week{number % 4:02}/{number:04}.json", b"[%d]" % number)
    bodies = aws.take()
    poison = [f"poison {number}" for number in range(objects // 100)]
    bodies += random.sample(bodies, objects // 10) + poison
    random.shuffle(bodies)
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
        aws.sqs.send_message_batch(QueueUrl=aws.queue, Entries=entries)

    with ThreadPoolExecutor(2) as two, Ledger.open(database_url) as other:  # two sensors' ticks at once
        found = [two.submit(receiver(aws.queue, each).drain, seconds=30) for each in (ledger, other)]
        total = found[0].result() + found[1].result()
    while aws.left():
        total += drain(aws, ledger)

    keys = [key for key, status in states(ledger) if status == "PENDING"]
    assert (len(keys), len(set(keys)), total.new) == (objects, objects, objects)
    assert sorted(aws.take(aws.dead_letters)) == sorted(poison)
