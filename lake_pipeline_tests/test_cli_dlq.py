"""`lake dlq`: dead letters shown with their reason, and sent back without losing one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.aws_local.server import Operation, Refused
from lake_pipeline.discovery.envelopes import ObjectEvent
from lake_pipeline_tests.aws import Arrivals, arrivals, serving
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS
from lake_pipeline_tests.test_envelopes import own


@pytest.fixture
def at(aws: dict[str, str]) -> Arrivals:
    return arrivals(aws)


def command(at: Arrivals, home: Path, **but: str) -> LakeCommand:
    lake = lake_command(home / "home", "postgresql://nobody@localhost:1/none", EVENTS)  # which is not asked
    return LakeCommand(lake.home, {**lake.variables, **at.variables, **but})


def bury(at: Arrivals, *bodies: str) -> None:
    for body in bodies:
        at.sqs.send_message(QueueUrl=at.dead_letters, MessageBody=body)


def test_list_says_of_each_message_how_often_it_came_how_old_it_is_and_why_it_is_there(
    at: Arrivals, tmp_path: Path
) -> None:
    good = own(ObjectEvent("created", at.bucket.name, f"{at.bucket.prefix}raw/a.json", "e"))
    foreign = own(ObjectEvent("created", "other", "raw/a.json", "e"))
    bury(at, "hello\nthere", foreign, good)
    lake = command(at, tmp_path)

    found = {letter["body"]: letter for letter in lake.json_lines("dlq", "list")}

    assert found["hello\nthere"]["why"].startswith("no event of S3: JSON is malformed")
    assert found[foreign]["why"] == "of s3://other/raw/a.json, which is outside of this lake"
    assert found[good]["why"] == "nothing is wrong with it by now; redrive it"
    assert {letter["receives"] for letter in found.values()} == {1}
    assert all(0 <= letter["age_seconds"] < 120 for letter in found.values())
    table = lake("dlq", "list").stdout.splitlines()  # and to list them again they are there again
    assert table[0].split() == ["message", "receives", "age", "why", "body"]
    assert len(table) == 4
    assert any(line.endswith("hello\\nthere") for line in table)


def test_list_stops_at_its_limit(at: Arrivals, tmp_path: Path) -> None:
    bury(at, *(f"poison {number}" for number in range(25)))
    assert len(command(at, tmp_path).json_lines("dlq", "list", "--limit", "11")) == 20  # ten come at a time


def test_an_empty_queue_is_no_error(at: Arrivals, tmp_path: Path) -> None:
    lake = command(at, tmp_path)
    assert "no dead letters" in lake("dlq", "list").stderr
    assert lake.json("dlq", "redrive", "--all") == {"redriven": 0}


def test_redrive_sends_all_back_to_the_queue_as_they_were(at: Arrivals, tmp_path: Path) -> None:
    attribute = {"trace": {"DataType": "String", "StringValue": "1-2"}}
    at.sqs.send_message(QueueUrl=at.dead_letters, MessageBody="one", MessageAttributes=attribute)
    bury(at, *(f"letter {number}" for number in range(12)))

    assert command(at, tmp_path).json("dlq", "redrive", "--all") == {"redriven": 13}

    assert at.left(at.dead_letters) == 0
    first = at.sqs.receive_message(QueueUrl=at.queue, MessageAttributeNames=["All"])["Messages"][0]
    assert first["MessageAttributes"] == attribute
    assert sorted([first["Body"], *at.take()]) == sorted(["one", *(f"letter {number}" for number in range(12))])


def test_redrive_of_one_message_leaves_the_others(at: Arrivals, tmp_path: Path) -> None:
    bury(at, "one", "two", "three")
    lake = command(at, tmp_path)
    chosen = next(letter["id"] for letter in lake.json_lines("dlq", "list") if letter["body"] == "two")

    assert lake("dlq", "redrive", "--message", chosen).stdout == f"1 sent back to {at.queue}\n"
    assert at.take() == ["two"]
    assert sorted(letter["body"] for letter in lake.json_lines("dlq", "list")) == ["one", "three"]
    assert "no dead letter nonsense" in lake("dlq", "redrive", "--message", "nonsense", expect=1).stderr
    assert "--all" in lake("dlq", "redrive", expect=2).stderr


def test_a_redrive_killed_between_sending_and_deleting_loses_no_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, killed = threading.Event(), threading.Event()

    def never(_: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        killed.wait(60)
        raise Refused("ServiceUnavailable", "the asker is gone")

    operations: dict[str, Operation] = {"AmazonSQS.DeleteMessageBatch": never}
    with serving(monkeypatch, operations) as at:
        bury(at, "one", "two")
        process = command(at, tmp_path).start("dlq", "redrive", "--all")
        assert asked.wait(60)
        process.kill()
        process.communicate()
        killed.set()

        assert at.left(at.dead_letters) == 2
        assert len(at.take()) == 1  # the first one's copy


def test_the_queue_of_dead_letters_is_found_from_the_policy_of_the_queue(at: Arrivals, tmp_path: Path) -> None:
    bury(at, "hello")
    lake = command(at, tmp_path, LAKE_EVENTS_DLQ="")
    assert [letter["body"] for letter in lake.json_lines("dlq", "list")] == ["hello"]


def test_what_is_not_set_up_is_named(at: Arrivals, tmp_path: Path) -> None:
    alone = at.sqs.create_queue(QueueName="no-dead-letters-here")["QueueUrl"]
    unset = command(at, tmp_path, LAKE_EVENTS_QUEUE="", LAKE_EVENTS_DLQ="")
    assert "LAKE_EVENTS_QUEUE is not set" in unset("dlq", "list", expect=1).stderr
    lake = LakeCommand(unset.home, {**unset.variables, "LAKE_EVENTS_QUEUE": alone})
    assert f"{alone} has no redrive policy" in lake("dlq", "list", expect=1).stderr
    lake = LakeCommand(unset.home, {**unset.variables, "LAKE_EVENTS_QUEUE": f"{alone}-gone"})
    assert "The queue refused or failed" in lake("dlq", "list", expect=1).stderr
    lake = LakeCommand(unset.home, {**unset.variables, "LAKE_STORE": str(tmp_path)})
    assert "a queue of events tells of S3, and this is a directory" in lake("dlq", "list", expect=1).stderr
