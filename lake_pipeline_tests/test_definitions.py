"""The code location: what Dagster is shown of each dataset, and what the sensors ask of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from lake_pipeline.declarations import load_datasets
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.lake import Lake
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, run

QUICK = EVENTS | {"batch": {"max_wait": 0}}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, QUICK) as opened:
        yield opened


def test_every_bundled_dataset_has_its_assets_sensors_and_schedule() -> None:
    datasets = load_datasets(BUNDLED_DATASETS)
    definitions = lake_definitions(list(datasets.values()))
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()

    for name in datasets:
        raw, curated, table = (graph.get(dg.AssetKey([name, stage])) for stage in ("raw", "curated", "table"))
        assert curated.parent_keys == {raw.key}
        assert table.parent_keys == {curated.key}
        assert {node.group_name for node in (raw, curated, table)} == {name}
        assert {node.partitions_def for node in (raw, curated, table)} == {
            dg.DynamicPartitionsDefinition(name=f"{name}_manifests")
        }
        assert curated.backfill_policy == dg.BackfillPolicy.multi_run(10)
        assert curated.kinds == {"duckdb", datasets[name].output.format}
        sensors = {sensor.name for sensor in definitions.sensors or ()}
        assert f"{name}_arrivals" in sensors
        assert (f"{name}_work" in sensors) == (datasets[name].schedule is None)
        assert definitions.resolve_schedule_def(f"{name}_reconcile_hourly").cron_schedule == "17 * * * *"


def test_no_run_has_a_second_process_for_its_step_those_that_the_ui_starts_included() -> None:
    definitions = lake_definitions(list(load_datasets(BUNDLED_DATASETS).values()))

    executors = executors_of(definitions)

    assert {"__ASSET_JOB", "events_manifest", "events_reconcile"} <= executors.keys()
    assert set(executors.values()) == {"in_process"}


def executors_of(definitions: dg.Definitions) -> dict[str, str]:
    return {job.name: job.executor_def.name for job in definitions.get_repository_def().get_all_jobs()}


def test_importing_the_code_location_reads_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    program = "import lake_pipeline.definitions, lake_pipeline.cli"
    subprocess.run([sys.executable, "-c", program], check=True, env={"LAKE_DATASETS": str(missing)}, timeout=60)


def test_the_sensors_turn_a_file_into_one_run_however_often_they_tick(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1))
    definitions = lake_definitions(list(lake.datasets.values()))
    with open_instance(lake.settings) as instance:
        for _ in range(2):
            arrivals = tick(definitions, instance, "events_arrivals")
            assert isinstance(arrivals, dg.SkipReason)
        first = tick(definitions, instance, "events_work")
        second = tick(definitions, instance, "events_work")

    (request,) = requests(first)
    assert request.partition_key == "2026-week07.0001"
    assert [again.run_key for again in requests(second)] == [request.run_key]
    assert isinstance(first, dg.SensorResult)
    (partitions,) = first.dynamic_partitions_requests or ()
    assert partitions.partition_keys == ["2026-week07.0001"]
    assert [manifest.state for manifest in lake.ledger.manifests("events")] == ["PLANNED"]


def test_a_run_that_died_before_it_began_is_asked_for_again(lake: Lake) -> None:
    land(lake, "raw/a.json", event(1))
    definitions = lake_definitions(list(lake.datasets.values()))
    with open_instance(lake.settings) as instance:
        tick(definitions, instance, "events_arrivals")
        (request,) = requests(tick(definitions, instance, "events_work"))
        job = definitions.resolve_job_def("events_manifest")
        dead = instance.create_run_for_job(
            job, tags=dict(request.tags) | {"dagster/partition": "historical.0001"}, status=dg.DagsterRunStatus.STARTED
        )
        instance.report_run_failed(dead)
        (again,) = requests(tick(definitions, instance, "events_work"))

    assert again.run_key != request.run_key
    assert again.partition_key == request.partition_key


def test_a_materialization_tells_rows_partitions_schema_changes_and_a_sample(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1, note="a|b"), event(2, mode="car"))
    run(lake)
    with open_instance(lake.settings) as instance:
        record = instance.get_latest_materialization_event(dg.AssetKey(["events", "curated"]))
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [
                dg.AssetCheckKey(dg.AssetKey(["events", "curated"]), "rows_conserved"),
                dg.AssetCheckKey(dg.AssetKey(["events", "curated"]), "required"),
            ]
        )
        row_count = instance.get_latest_materialization_event(dg.AssetKey(["events", "table"]))

    assert record is not None
    assert record.asset_materialization is not None
    assert row_count is not None
    assert row_count.asset_materialization is not None
    metadata = record.asset_materialization.metadata
    assert metadata["dagster/partition_row_count"].value == 2
    assert metadata["files succeeded"].value == 1
    assert "mode=bike" in str(metadata["partitions touched"].value)
    changes = metadata["schema changes"]
    assert isinstance(changes, dg.TableMetadataValue)
    assert [record.data["column"] for record in changes.records] == ["id", "date", "mode", "note"]
    assert "a&#124;b" in str(metadata["sample rows"].value)
    assert {check.event.asset_check_evaluation.passed for check in checks.values() if check.event} == {True}  # type: ignore[union-attr]
    assert row_count.asset_materialization.metadata["dagster/row_count"].value == 2


def test_a_project_declares_a_dataset_with_the_component() -> None:
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(
            component_cls=component_class(),
            defs_path="trips",
            defs_yaml_contents={"type": "lake_pipeline.LakeDataset", "attributes": {"declaration": QUICK}},
        )
        with sandbox.build_all_defs() as definitions:
            keys, executors = definitions.resolve_all_asset_keys(), executors_of(definitions)
    assert set(keys) == {dg.AssetKey(["events", stage]) for stage in ("raw", "curated", "table")}
    assert {executors["events_manifest"], executors["events_reconcile"]} == {"in_process"}
    assert executors["__ASSET_JOB"] != "in_process", "what else the project has is not ours to decide on"


def component_class() -> type[dg.Component]:
    from lake_pipeline import LakeDataset

    return LakeDataset  # type: ignore[no-any-return]


def test_the_component_refuses_a_bad_declaration_with_the_field() -> None:
    bad = yaml.safe_load(yaml.safe_dump(QUICK)) | {"output": {"prefix": "curated/", "colour": "red"}}
    with create_defs_folder_sandbox() as sandbox:
        sandbox.scaffold_component(
            component_cls=component_class(),
            defs_path="trips",
            defs_yaml_contents={"type": "lake_pipeline.LakeDataset", "attributes": {"declaration": bad}},
        )
        with pytest.raises(Exception, match="LakeDataset") as caught, sandbox.build_all_defs():
            pass
    assert "output.colour" in str(caught.value.__cause__).replace("\n", ".")


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance, name: str) -> object:
    """What a sensor answers, called as the daemon calls it."""
    sensor = definitions.resolve_sensor_def(name)
    with dg.build_sensor_context(
        instance=instance, definitions=definitions, resources={"lake": LakeResource()}
    ) as context:
        return sensor(context)


def requests(answer: object) -> list[dg.RunRequest]:
    assert isinstance(answer, dg.SensorResult)
    return list(answer.run_requests or ())
