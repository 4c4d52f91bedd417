"""The bundled `events_small`: batches of ten files, a declared schedule, and a file list handed in by argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from lake_pipeline.dataset import Schedule
from lake_pipeline.declarations import load_dataset
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.lake import Lake
from lake_pipeline.samples import generate
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline.store import Store
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import lake_of

DECLARATION = yaml.safe_load((BUNDLED_DATASETS / "events_small.yaml").read_text())
WEEK8 = "raw-json-small/2026/week08"


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """The samples have landed."""
    command = lake_command(tmp_path / "home", database_url, DECLARATION)
    generate("events_small", Store(str(command.home / "store")), scale=0.1)
    return command


def test_every_sample_is_run_in_batches_of_ten_and_archived(lake: LakeCommand) -> None:
    lake("run")

    files = lake.json_lines("files")
    assert Counter(file["manifest_id"] for file in files) == {
        "2026-week07.0001": 10,
        "2026-week07.0002": 2,
        "2026-week08.0001": 5,
    }
    assert Counter(file["status"] for file in files) == {"SUCCEEDED": 16, "QUARANTINED": 1}
    (counted,) = lake.json_lines("query", "select count(*) as n, count(distinct id) as ids from events_small")
    assert set(counted.values()) == {sum(file["rows_written"] or 0 for file in files)}
    folders = {path.relative_to(lake.home / "store").parts[:2] for path in (lake.home / "store").rglob("*.parquet")}
    assert folders == {("curated-small", "year=2026")}
    store = lake.home / "store"
    assert not list((store / "raw-json-small").rglob("*.json"))
    assert len(list((store / "raw-json-small-processed").rglob("*.json"))) == 16


def test_a_file_list_on_standard_input_runs_just_those_files(lake: LakeCommand) -> None:
    keys = [f"{WEEK8}/drop-01.json", f"{WEEK8}/drop-03.json"]

    lake("run", "events_small", "--files-from", "-", stdin="\n".join([*keys, "", keys[0]]) + "\n")

    assert {file["s3_key"]: file["status"] for file in lake.json_lines("files")} == dict.fromkeys(keys, "SUCCEEDED")
    sources = lake.json_lines("query", "select distinct _source_file as key from events_small order by 1")
    assert [row["key"] for row in sources] == keys


@pytest.mark.slow
def test_a_file_list_leaves_what_else_is_pending_alone_and_may_be_handed_in_again(lake: LakeCommand) -> None:
    lake("run", "events_small", "--files-from", "-", stdin=f"{WEEK8}/drop-01.json\n")
    lake("requeue", "events_small", "--key", f"{WEEK8}/drop-01.json")
    listed = lake.home / "list.txt"
    listed.write_text(f"{WEEK8}/drop-02.json\n")

    lake("run", "events_small", "--files-from", str(listed))
    assert {file["s3_key"][-7:]: file["status"] for file in lake.json_lines("files")} == {
        "01.json": "PENDING",
        "02.json": "SUCCEEDED",
    }
    before = lake.json_lines("files")
    lake("run", "events_small", "--files-from", str(listed))
    assert lake.json_lines("files") == before, "it was archived, and is known"


def test_an_unknown_key_is_an_error_that_names_it_and_nothing_is_run(lake: LakeCommand) -> None:
    wanted = f"{WEEK8}/drop-01.json\n{WEEK8}/drop-99.json\nelsewhere/drop-1.json\n"

    said = lake("run", "events_small", "--files-from", "-", stdin=wanted, expect=1).stderr

    assert f"There is no such raw file: {WEEK8}/drop-99.json, elsewhere/drop-1.json" in said
    assert "drop-01" not in said
    assert lake.json_lines("files") == []


def test_a_file_list_needs_one_dataset(lake: LakeCommand) -> None:
    assert "the name of one dataset" in lake("run", "--files-from", "-", expect=2).stderr
    assert "cannot be read" in lake("run", "events_small", "--files-from", "missing.txt", expect=2).stderr


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, DECLARATION) as found:
        yield found


def test_the_declared_schedule_plans_what_is_there_and_no_sensor_does(opened: Lake) -> None:
    generate("events_small", opened.store, scale=0.1)
    definitions = lake_definitions(list(opened.datasets.values()))
    schedule = definitions.resolve_schedule_def("events_small_work")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("*/5 * * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert [sensor.name for sensor in definitions.sensors or ()] == ["events_small_arrivals"]

    with open_instance(opened.settings) as instance:
        arrivals = definitions.resolve_sensor_def("events_small_arrivals")
        with dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"lake": LakeResource()}
        ) as context:
            arrivals(context)
        first, again = (requests(schedule, definitions, instance) for _ in range(2))
        partitions = instance.get_dynamic_partitions("events_small_manifests")

    planned = ["2026-week07.0001", "2026-week07.0002", "2026-week08.0001"]
    assert sorted(partitions) == planned
    (shared,) = first  # they are small
    assert shared.tags["dagster/asset_partition_range_start"] == partitions[0]
    assert shared.tags["dagster/asset_partition_range_end"] == partitions[-1]
    assert [request.run_key for request in again] == [request.run_key for request in first]


def requests(
    schedule: dg.ScheduleDefinition, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> list[dg.RunRequest]:
    """What a tick asks for, evaluated as the daemon does it."""
    with dg.build_schedule_context(
        instance=instance,
        repository_def=definitions.get_repository_def(),
        resources={"lake": LakeResource()},
        scheduled_execution_time=datetime(2026, 2, 9, 12, 5, tzinfo=UTC),
    ) as context:
        return list(schedule.evaluate_tick(context).run_requests or ())


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 6 * * 1-5", "0,30 8-18/2 1 1 7", "59 23 31 12 0"])
def test_a_cron_expression_is_taken(cron: str) -> None:
    assert Schedule(cron=cron).cron == cron
    assert dg.ScheduleDefinition(name="s", cron_schedule=cron, job_name="j").cron_schedule == cron


@pytest.mark.parametrize("cron", ["", "* * * *", "60 * * * *", "* * 0 * *", "5-1 * * * *", "@daily", "*/0 * * * *"])
def test_a_cron_expression_that_is_none_is_named_with_its_line(tmp_path: Path, cron: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(DECLARATION | {"schedule": {"cron": cron}}))
    with pytest.raises(Exception, match=r"schedule\.cron"):
        load_dataset(path)
