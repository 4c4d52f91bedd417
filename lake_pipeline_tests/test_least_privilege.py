"""The pipeline under the synthesized roles: every call that it makes is allowed, and what is allowed is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from typer.testing import CliRunner

from infra.environment import environment as environment_of
from lake_pipeline.aws import client
from lake_pipeline.aws_local.lake import served
from lake_pipeline.aws_local.server import environment
from lake_pipeline.cli import app
from lake_pipeline.definitions import defs
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.aws import Arrivals
from lake_pipeline_tests.aws_calls import Recorder
from lake_pipeline_tests.deployed import deploy
from lake_pipeline_tests.lakes import event, rows, run, states
from lake_pipeline_tests.templates import Template
from lake_pipeline_tests.test_definitions import tick

GLUE, TASKS, READERS = "lake-glue-dev", "lake-tasks-dev", "lake-readers-dev"
DATASETS = Path(__file__).parents[1] / "lake_pipeline/datasets"


def declared(name: str, **more: Any) -> dict[str, Any]:
    """A bundled declaration, whose prefixes the policies know, with more in it."""
    return yaml.safe_load((DATASETS / f"{name}.yaml").read_text()) | {"batch": {"max_wait": 0}, "schedule": None} | more


def lines(*records: dict[str, Any] | str) -> bytes:
    return "".join(f"{item if isinstance(item, str) else json.dumps(item)}\n" for item in records).encode()


@dataclass(frozen=True)
class Story:
    """What was recorded, and the lake as it was at the end."""

    recorder: Recorder
    lake: Lake


def command(*arguments: str, expect: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == expect, f"{arguments}: {done.output} {done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def story(templates: Path, shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Everything that the platform does, once, by processes that may do what the roles may."""
    data, platform = (
        Template.read(templates / f"lake-{name}-dev.template.json", "eu-central-1") for name in ("data", "platform")
    )
    variables = environment_of(platform.outputs)
    recorder = Recorder(
        {role: platform.policy(role) for role in (GLUE, TASKS, READERS)}, variables["LAKE_ATHENA_WORKGROUP"]
    )
    home = tmp_path_factory.mktemp("lake")
    (home / "datasets").mkdir()
    extract = {"name": "by_mode", "sql": "select mode, count(*) as trips from events group by mode"}
    for document in (
        declared("events", extracts=[extract]),
        declared("events_small", transform={"deduplicate": {"keys": ["id"], "keep": "latest", "by": "ts"}}),
    ):
        (home / "datasets" / f"{document['name']}.yaml").write_text(yaml.safe_dump(document))
    with (
        pytest.MonkeyPatch.context() as patch,
        served(athena_key=TASKS, glue_key=GLUE, around=recorder.around) as url,
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
        deploy(data, platform)
        at = Arrivals(variables, client("s3"), client("sqs"))  # of nobody whose calls count
        patch.setenv("AWS_ACCESS_KEY_ID", TASKS)
        with open_lake(load_settings()) as lake:
            tell(lake, at)
            yield Story(recorder, lake)


def tell(lake: Lake, at: Arrivals) -> None:
    """The story."""
    for file in range(3):
        at.put(f"raw-json-data/2026/week01/{file}.json", lines(event(file), event(file + 10, mode="car")))
    at.put("raw-json-data/2026/week01/bad.json", b"\x89PNG\r\n\x1a\n")
    at.put("raw-json-small/2026/week01/a.json", lines(event(1, ts="2026-02-01T10:00:00Z")))
    at.send("no event")
    definitions = defs()
    with open_instance(lake.settings) as instance:
        while at.left():
            tick(definitions, instance, "s3_events")
        run(lake)
        tick(definitions, instance, "lake_metrics")


def test_every_call_of_the_pipeline_is_allowed_by_the_role_that_makes_it(story: Story) -> None:
    assert story.recorder.refused == set()
    assert states(story.lake) == {
        **{f"raw-json-data/2026/week01/{file}.json": "SUCCEEDED" for file in range(3)},
        "raw-json-data/2026/week01/bad.json": "QUARANTINED",
    }
    for principal, calls in sorted(story.recorder.calls.items()):
        for action in sorted({call.action for call in calls}):
            print(principal, action, sorted({call.resource.split("/")[1] if "/" in call.resource else call.resource for call in calls if call.action == action})[:12])
