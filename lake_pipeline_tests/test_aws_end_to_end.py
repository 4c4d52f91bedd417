"""The whole road on AWS: objects in S3, events through SQS, sensors, Glue job runs, Glue tables, Athena."""

from __future__ import annotations

import json
import random
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.lake import served
from lake_pipeline.aws_local.resources import make_lake
from lake_pipeline.aws_local.server import environment
from lake_pipeline.definitions import defs
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.keys import job_name
from lake_pipeline.lake import Lake
from lake_pipeline_tests.aws import Arrivals, arrivals
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, rows, states, stored
from lake_pipeline_tests.test_definitions import requests, tick

WEEKS, DAYS, RECORDS = 2, 7, 5
QUICK = EVENTS | {"batch": {"max_wait": 0}}


def record(file: int, number: int) -> dict[str, Any]:
    return event(file * RECORDS + number, day=file % DAYS + 1, mode=("bike", "car")[file % 2])


def land(at: Arrivals, objects: int) -> set[str]:
    """Land files over some weeks, every hundredth unreadable; the keys of these."""
    broken = set()
    for file in range(objects):
        key = f"raw/2026/week{file % WEEKS + 1:02}/{file:05} ü+.json"
        if file % 100 == 50:
            broken.add(key)
            at.put(key, b"\x89PNG\r\n\x1a\n")
        else:
            at.put(key, b"".join(json.dumps(record(file, number)).encode() + b"\n" for number in range(RECORDS)))
    return broken


def spoil(at: Arrivals, objects: int) -> list[str]:
    """Double a tenth of the queue's messages, shuffle all, and add one per cent that are no events: those."""
    bodies = at.take()
    poison = [f"poison {number}" for number in range(objects // 100)]
    bodies += random.sample(bodies, objects // 10) + poison
    random.shuffle(bodies)
    at.send(*bodies)
    return poison


def work(lake: Lake, at: Arrivals) -> None:
    """Tick the sensors as the daemon does, and carry out the runs that they ask for, until nothing is left to do."""
    definitions = defs()
    with open_instance(lake.settings) as instance:
        while True:
            tick(definitions, instance, "s3_events")
            answer = tick(definitions, instance, "events_work")
            if isinstance(answer, dg.SkipReason):
                if at.left() == 0 and lake.ledger.pending_work("events", 1).done:
                    return
                continue
            assert isinstance(answer, dg.SensorResult)
            for added in answer.dynamic_partitions_requests or ():
                instance.add_dynamic_partitions(added.partitions_def_name, list(added.partition_keys))
            for request in requests(answer):
                job = definitions.resolve_job_def(job_name(lake.dataset("events")))
                result = job.execute_in_process(
                    instance=instance, partition_key=request.partition_key, tags=dict(request.tags)
                )
                assert result.success


@pytest.mark.parametrize(("objects", "spark"), [(100, "false"), pytest.param(2000, "true", marks=pytest.mark.slow)])
def test_whatever_lands_in_s3_is_a_row_once_or_set_aside_and_no_message_is_left(
    objects: int, spark: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    random.seed(objects)
    with served() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        variables = make_lake(f"lake-{uuid.uuid4().hex[:12]}")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LAKE_ENGINE", "glue")
        monkeypatch.setenv("LAKE_GLUE_SPARK", spark)
        monkeypatch.setenv("LAKE_GLUE_POLL_SECONDS", "0.2")
        at = arrivals(variables)
        broken = land(at, objects)
        poison = spoil(at, objects)
        with lake_of(monkeypatch, tmp_path, database_url, QUICK, store=variables["LAKE_STORE"], catalog="glue") as lake:
            work(lake, at)

            assert Counter(states(lake).values()) == {
                "SUCCEEDED": objects - len(broken),
                "QUARANTINED": len(broken),
            }
            assert {key for key, status in states(lake).items() if status == "QUARANTINED"} == broken
            good = [file for file in range(objects) if file % 100 != 50]
            expected = sorted(record(file, number)["id"] for file in good for number in range(RECORDS))
            assert sorted(id_ for (id_,) in rows(lake, "select id from events")) == expected
            assert stored(lake, "raw/") == []
            assert stored(lake, "_staging/") == []
            assert sorted(at.take(at.dead_letters)) == sorted(poison)
            assert partitions(variables["LAKE_GLUE_DATABASE"]) == {
                ("2026", "2", str(file % DAYS + 1), ("bike", "car")[file % 2]) for file in good
            }


def partitions(database: str) -> set[tuple[str, ...]]:
    """Values of the table's partitions in the Glue catalogue."""
    pages = client("glue").get_paginator("get_partitions").paginate(DatabaseName=database, TableName="events")
    return {tuple(found["Values"]) for page in pages for found in page["Partitions"]}
