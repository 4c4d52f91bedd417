"""The pipeline under the synthesized roles: every call that it makes is allowed, and what is allowed is used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import CodePointer
from dagster._core.launcher.base import WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from typer.testing import CliRunner

from infra.context import ROOT
from infra.environment import environment as environment_of
from infra.folders import OWN, Folders
from lake_pipeline.aws import client
from lake_pipeline.aws_local.lake import served
from lake_pipeline.aws_local.server import environment
from lake_pipeline.catalog.symlinks import SYMLINKS
from lake_pipeline.cli import app
from lake_pipeline.dagster_home import CONFIG
from lake_pipeline.declarations import load_datasets
from lake_pipeline.definitions import defs
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.engines.glue_job import GlueJob
from lake_pipeline.engines.glue_logs import tail
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.settings import BUNDLED_DATASETS, load_settings
from lake_pipeline.store import Store
from lake_pipeline_tests.aws import Arrivals
from lake_pipeline_tests.aws_calls import ACCOUNT, Recorder
from lake_pipeline_tests.deployed import daemon_task, deploy
from lake_pipeline_tests.iam import Call, allowing, listed
from lake_pipeline_tests.lakes import event, rows, run, states
from lake_pipeline_tests.templates import Template
from lake_pipeline_tests.test_definitions import tick
from lake_pipeline_tests.test_inventory import Inventory, Row

REGION = "eu-central-1"
GLUE, TASKS, READERS = "lake-glue-dev", "lake-tasks-dev", "lake-readers-dev"
ATHENA = "athena"  # what it asks in the name of who queries
UNUSED = ROOT / "infra/unused.yaml"
EXTRACT = {"name": "by_mode", "sql": "select mode, count(*) as trips from events group by mode"}


@dataclass(frozen=True)
class Story:
    """What was recorded, and the lake at the end."""

    recorder: Recorder
    lake: Lake


@pytest.fixture(scope="module")
def platform(templates: Path) -> Template:
    return Template.read(templates / "lake-platform-dev.template.json", REGION)


@pytest.fixture(scope="module")
def story(
    templates: Path, platform: Template, shared_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    """What the platform does, once, by processes that may do what the roles may, on resources as synthesized."""
    variables = environment_of(platform.outputs)
    recorder = Recorder(
        {role: platform.policy(role) for role in (GLUE, TASKS, READERS)},
        variables["LAKE_ATHENA_WORKGROUP"],
        passed=tuple(f"arn:aws:iam::{ACCOUNT}:role/lake-{name}-dev" for name in ("tasks", "execution")),
        acts_for={ATHENA: TASKS},
    )
    home = tmp_path_factory.mktemp("lake")
    (home / "datasets").mkdir()
    # A bundled declaration, whose prefixes the policies know, with more in it.
    declared = yaml.safe_load((BUNDLED_DATASETS / "events.yaml").read_text())
    declared |= {"batch": {"max_wait": 0}, "extracts": [EXTRACT]}
    (home / "datasets/events.yaml").write_text(yaml.safe_dump(declared))
    with (
        pytest.MonkeyPatch.context() as patch,
        served(athena_key=ATHENA, glue_key=GLUE, around=recorder.around) as url,
    ):
        for name, value in {
            **environment(url),
            **variables,
            "LAKE_HOME": str(home),
            "LAKE_DATASETS": str(home / "datasets"),
            "LAKE_DATABASE_URL": shared_database_url,
            "LAKE_DAGSTER_DATABASE_URL": "",
            "DAGSTER_HOME": "",
            "LAKE_GLUE_SPARK": "false",
            "LAKE_GLUE_POLL_SECONDS": "0.2",
        }.items():
            patch.setenv(name, value)
        deploy(Template.read(templates / "lake-data-dev.template.json", REGION), platform)
        at = Arrivals(variables, client("s3"), client("sqs"))  # of somebody who may do all
        patch.setenv("AWS_ACCESS_KEY_ID", TASKS)
        with open_lake(load_settings()) as lake:
            convert(lake, at)
            change(lake, at)
            look_after_runs(lake)
            launch(platform, home, patch)
            patch.setenv("AWS_ACCESS_KEY_ID", READERS)
            recorder.acts_for[ATHENA] = READERS
            read(at.store)
            yield Story(recorder, lake)


def convert(lake: Lake, at: Arrivals) -> None:
    """Files land, one of them bad, and become a table; a letter that was dead is sent again."""
    for file in range(3):
        at.put(f"raw-json-data/2026/week01/{file}.json", lines(event(file), event(file + 10, mode="car")))
    at.put("raw-json-data/2026/week01/bad.json", b"\x89PNG\r\n\x1a\n")
    at.sqs.send_message(QueueUrl=at.dead_letters, MessageBody="no event")
    command("dlq", "redrive", "--all")
    definitions = defs()
    with open_instance(lake.settings) as instance:
        tick(definitions, instance, "s3_events")
        run(lake)
        tick(definitions, instance, "lake_metrics")


def change(lake: Lake, at: Arrivals) -> None:
    """A file is replaced, which a report says; others are converted again; then rows are erased."""
    at.put("raw-json-data/2026/week01/0.json", lines(event(0, mode="bus")))
    reports = str(lake.settings.inventory).split("/")[2]
    Inventory(at.store, reports, at.s3).write(
        "Parquet", [Row("raw-json-data/2026/week01/0.json")], made=datetime.now(UTC)
    )
    command("reconcile", "events")
    command("requeue", "events", "--manifest", "2026-week01.0001")
    run(lake)
    command("erase", "events", "--where", "mode = 'car'", "--raw", "--yes")


def look_after_runs(lake: Lake) -> None:
    """What is asked of Glue about runs whose worker was killed, was cancelled, or failed."""
    job = GlueJob(str(lake.settings.glue_job), lambda _: None, poll=0.1, retry=0.1)
    found = job.find({}, datetime.now(UTC) - timedelta(hours=1))
    assert found is not None
    job.stop(found.id)
    tail(client("logs"), found.log_group, found.id)


def launch(platform: Template, home: Path, patch: pytest.MonkeyPatch) -> None:
    """A run of Dagster becomes a task, is looked at and stopped, by the launcher of the image."""
    key = os.environ["AWS_ACCESS_KEY_ID"]
    patch.setenv("AWS_ACCESS_KEY_ID", "local")
    with daemon_task(platform) as variables:
        for name, value in {**variables, "DAGSTER_RUN_TASK": "lake-run-dev", "AWS_ACCESS_KEY_ID": key}.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # the launcher's, which remembers credentials
        (home / "ecs").mkdir()
        (home / "ecs/dagster.yaml").write_text(
            CONFIG.read_text() + (ROOT / "infra/image/run_launcher.yaml").read_text()
        )
        with dg.DagsterInstance.from_config(str(home / "ecs")) as instance:
            code = RepositoryPythonOrigin(
                "python", CodePointer.from_module("lake_pipeline.definitions", "defs", None), None, None, None
            )
            run = instance.create_run_for_job(nothing, job_code_origin=JobPythonOrigin("nothing", code))
            instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
            launched = instance.get_run_by_id(run.run_id)
            assert launched is not None
            assert instance.run_launcher.check_run_worker_health(launched).status == WorkerStatus.RUNNING
            assert instance.run_launcher.terminate(run.run_id)
    patch.setattr(boto3, "DEFAULT_SESSION", None)


@dg.job
def nothing() -> None:
    """A job that is only launched."""


def read(store_url: str) -> None:
    """A query through Athena, and a table's files by the lists of committed ones."""
    command("query", "select count(*) from events")
    lake = Store(store_url)
    (first, *_) = (item.key for page in lake.list(f"{SYMLINKS}events/") for item in page)
    for url in lake.get(first).decode().split():
        assert lake.get(url.removeprefix(f"{store_url}/")).startswith(b"PAR1")


def command(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == 0, f"{arguments}: {done.output} {done.exception!r}"
    return done.output


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(item)}\n" for item in records).encode()


def test_every_call_of_the_pipeline_is_allowed_by_the_role_that_makes_it(story: Story) -> None:
    assert story.recorder.refused == set()
    assert {role: len({call.action for call in calls}) > 1 for role, calls in story.recorder.calls.items()} == {
        GLUE: True,
        TASKS: True,
        READERS: True,
    }


def test_the_lake_is_whole_under_these_roles(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    assert states(story.lake) == {
        **{f"raw-json-data/2026/week01/{file}.json": "SUCCEEDED" for file in range(3)},
        "raw-json-data/2026/week01/bad.json": "QUARANTINED",
    }
    assert rows(story.lake, "select id, mode from events order by id") == [
        ("e0", "bus"),
        ("e1", "bike"),
        ("e2", "bike"),
    ]


def test_what_is_allowed_and_was_not_used_has_a_reason(story: Story, platform: Template) -> None:
    folders = Folders.of(load_datasets(BUNDLED_DATASETS).values())
    reasons = yaml.safe_load(UNUSED.read_text())
    unexplained, idle = set(), set()
    for role in (GLUE, TASKS, READERS):
        used = {(action, kind(resource, folders)) for action, resource in story.recorder.used[role]}
        unused = {
            (action, kind(resource, folders))
            for statement in platform.policy(role)
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        } - used
        given = reasons[role.split("-")[1]]
        for action, resource in unused:
            if not any(explains(reason, action, resource) for reason in given):
                unexplained.add(f"{role}: {action} on {resource}")
        for reason in given:
            assert reason["why"]
            if not any(explains(reason, action, resource) for action, resource in unused):
                idle.add(f"{role}: {reason}")
    assert sorted(unexplained) == [], f"allowed, and nothing does it: take it away, or say why in {UNUSED.name}"
    assert sorted(idle) == [], f"explained in {UNUSED.name}, and used or not allowed"


def explains(reason: dict[str, Any], action: str, resource: str) -> bool:
    return action in listed(reason["action"]) and any(fnmatchcase(resource, one) for one in listed(reason["resource"]))


def kind(resource: str, folders: Folders) -> str:
    """What a policy's resource is to the lake: a dataset's folders are alike, whichever dataset it is."""
    tail = resource.split(":", 5)[-1]
    for name, prefixes in (("raw", folders.raw), ("archive", folders.archive), ("output", folders.output)):
        if any(tail.endswith(f"/{prefix}*") for prefix in prefixes):
            return name
    own = [folder for folder in (*OWN, "glue/", "inventory/") if tail.endswith(f"/{folder}*")]
    return own[0] if own else tail


def test_a_call_that_no_statement_allows_is_refused_on_the_wire(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READERS)
    before = set(story.recorder.refused)
    with pytest.raises(Exception, match=f"{READERS} is not authorized to perform s3:PutObject"):
        client("s3").put_object(Bucket=story.lake.settings.store_url.split("/")[2], Key="_lake/x", Body=b"")
    story.recorder.refused.intersection_update(before)


def test_conditions_of_policies_hold(platform: Template) -> None:
    listing = f"arn:aws:s3:::{environment_of(platform.outputs)['LAKE_STORE'].removeprefix('s3://')}"
    policy = platform.policy(READERS)
    assert allowing(policy, Call("s3:ListBucket", listing, (("s3:prefix", "_symlinks/events/"),)))
    assert not allowing(policy, Call("s3:ListBucket", listing, (("s3:prefix", "raw-json-data/"),)))
    assert not allowing(policy, Call("s3:ListBucket", listing))
    metrics = platform.policy(TASKS)
    assert allowing(metrics, Call("cloudwatch:PutMetricData", "*", (("cloudwatch:namespace", "lake-metrics-dev"),)))
    assert not allowing(metrics, Call("cloudwatch:PutMetricData", "*", (("cloudwatch:namespace", "AWS/RDS"),)))
