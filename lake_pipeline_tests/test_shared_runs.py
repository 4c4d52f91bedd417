"""Several manifests in one Dagster run: what fails or is killed is one manifest's own affair."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster_shared.serdes import serialize_value
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.attempts import call_off
from lake_pipeline.dataset import Batch
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import DueManifest
from lake_pipeline.settings import load_settings
from lake_pipeline.sharing import shared_runs
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run
from lake_pipeline_tests.test_definitions import requests, tick

# A file a manifest, and what makes one fail is an id that comes twice.
ONE_EACH = EVENTS | {
    "batch": {"max_files": 1},
    "checks": {"unique": ["id"], "blocking": ["unique"]},
}
CURATED = dg.AssetKey(["events", "curated"])
STAGES = [dg.AssetKey(["events", stage]) for stage in ("raw", "curated", "table")]
BATCH = Batch.model_validate({"run_manifests": 5, "run_bytes": 100})


def due(number: int, size: int) -> DueManifest:
    return DueManifest(f"w.{number:04}", "w", 1, 1, size)


@given(st.sets(st.integers(0, 60)), st.lists(st.integers(0, 150), min_size=61, max_size=61))
def test_runs_are_of_neighbours_and_within_their_limits(numbers: set[int], sizes: list[int]) -> None:
    places = {f"w.{number:04}": number for number in range(61)}
    runs = shared_runs([due(number, sizes[number]) for number in numbers], places, BATCH)

    taken = [[places[manifest.manifest_id] for manifest in run] for run in runs]
    assert sorted(number for run in taken for number in run) == sorted(numbers)
    assert all(run == list(range(run[0], run[-1] + 1)) for run in taken)
    assert all(len(run) <= 5 for run in taken)
    assert all(len(run) == 1 or sum(sizes[number] for number in run) <= 100 for run in taken)
    # None could have gone to the run before it.
    for before, after in pairwise(taken):
        full = len(before) == 5 or sum(sizes[number] for number in [*before, after[0]]) > 100
        assert full or after[0] != before[-1] + 1


@pytest.fixture
def lake(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """Four files, a manifest each, of which the second cannot be published."""
    with lake_of(monkeypatch, tmp_path, database_url, ONE_EACH) as opened:
        for number in range(1, 5):
            records = [event(number)] * (2 if number == 2 else 1)
            land(opened, f"raw/2026/week07/{number}.json", *records)
        yield opened


@pytest.fixture
def asked(lake: Lake) -> dg.RunRequest:
    """The run that the sensors ask for; its partitions are added, as the daemon does."""
    definitions = lake_definitions(list(lake.datasets.values()))
    with open_instance(lake.settings) as instance:
        tick(definitions, instance, "events_arrivals")
        answer = tick(definitions, instance, "events_work")
        (request,) = requests(answer)
        assert isinstance(answer, dg.SensorResult)
        (added,) = answer.dynamic_partitions_requests or ()
        instance.add_dynamic_partitions("events_manifests", list(added.partition_keys))
    return request


def carry_out(tags: dict[str, str]) -> bool:
    """The run with these tags, in this process, on the lake that the environment describes."""
    settings = load_settings()
    definitions = lake_definitions([*_datasets().values()])
    with open_instance(settings) as instance:
        job = definitions.resolve_job_def("events_manifest")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(instance=instance, tags=tags, run_config=quiet, raise_on_error=False).success


def _datasets() -> dict[str, Any]:
    from lake_pipeline.declarations import load_datasets

    return load_datasets(load_settings().datasets)


def states(lake: Lake) -> dict[str, tuple[str, int]]:
    """State and attempt by the number of the manifest."""
    return {row.manifest_id[-1]: (row.state, row.attempt) for row in lake.ledger.manifests("events")}


def materialized(lake: Lake) -> dict[str, Counter[str]]:
    """How often each manifest was materialized, by stage."""
    found: dict[str, Counter[str]] = {}
    with open_instance(lake.settings) as instance:
        for key in STAGES:
            records = instance.fetch_materializations(key, limit=1000).records
            found[key.path[-1]] = Counter(str(record.partition_key)[-1] for record in records)
    return found


def ids(lake: Lake) -> list[str]:
    return [str(value) for (value,) in rows(lake, "select id from events order by id")]


def test_a_manifest_that_fails_stops_and_undoes_none_of_those_that_share_its_run(
    lake: Lake, asked: dg.RunRequest
) -> None:
    assert asked.partition_key is None
    assert asked.tags["dagster/asset_partition_range_start"] == "2026-week07.0001"
    assert asked.tags["dagster/asset_partition_range_end"] == "2026-week07.0004"

    assert not carry_out(dict(asked.tags))

    committed, failed = ("COMMITTED", 1), ("FAILED", 1)
    assert states(lake) == {"1": committed, "2": failed, "3": committed, "4": committed}
    assert ids(lake) == ["e1", "e3", "e4"]
    each = Counter("134")
    assert materialized(lake) == {"raw": Counter("1234"), "curated": each, "table": each}
    definitions = lake_definitions(list(lake.datasets.values()))
    with open_instance(lake.settings) as instance:
        (record,) = instance.get_runs()
        (failure,) = [
            event.step_failure_data.user_failure_data
            for entry in instance.all_logs(record.run_id)
            if (event := entry.dagster_event) and event.is_step_failure
        ]
        partitions = definitions.resolve_assets_def(CURATED).partitions_def
        cache = get_and_update_asset_status_cache_value(instance, CURATED, partitions)
        (check,) = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(CURATED, "unique")]
        ).values()
        # The retry is of that manifest alone.
        (again,) = requests(tick(definitions, instance, "events_work"))
    assert failure is not None
    assert str(failure.description).startswith("1 of 4 manifests failed")
    assert "2026-week07.0002: A blocking check failed" in str(failure.description)
    assert cache is not None
    assert partitions is not None
    assert cache.deserialize_failed_partition_subsets(partitions).get_partition_keys() == {"2026-week07.0002"}
    assert sorted(cache.deserialize_materialized_partition_subsets(partitions).get_partition_keys()) == [
        f"2026-week07.000{number}" for number in (1, 3, 4)
    ]
    assert check.event is not None
    evaluation = check.event.asset_check_evaluation
    assert evaluation is not None
    assert not evaluation.passed
    assert evaluation.metadata["offending rows"].value == 2
    assert again.partition_key == "2026-week07.0002"
    assert again.tags["lake/attempt"] == "events/2026-week07.0002/2"


def test_a_run_that_was_killed_is_begun_again_where_it_was(lake: Lake, asked: dg.RunRequest) -> None:
    program = f"import json, sys; from {__name__} import carry_out; carry_out(json.loads(sys.argv[1]))"
    killed = subprocess.run(
        [sys.executable, "-c", program, json.dumps(dict(asked.tags))],
        env=os.environ | {"LAKE_FAILPOINTS": "attempt.begun=kill@3"},
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -9
    assert {number: state for number, (state, _) in states(lake).items()} == {
        "1": "COMMITTED",
        "2": "FAILED",
        "3": "RUNNING",
        "4": "PLANNED",
    }
    assert materialized(lake)["curated"] == Counter("1")

    carry_out(dict(asked.tags))  # as Dagster's monitoring does

    assert states(lake) == {"1": ("COMMITTED", 1), "2": ("FAILED", 2), "3": ("COMMITTED", 2), "4": ("COMMITTED", 1)}
    assert ids(lake) == ["e1", "e3", "e4"]
    # What was there already is shown as it is.
    assert set(materialized(lake)["table"]) == set("134")


@pytest.mark.usefixtures("asked")
def test_manifests_of_a_cancelled_run_that_were_not_begun_have_failed_once(lake: Lake) -> None:
    ids = [f"2026-week07.000{number}" for number in (3, 4)]
    call_off(lake, lake.dataset("events"), ids)
    assert {number: state for number, (state, _) in states(lake).items()} == {
        "1": "PLANNED",
        "2": "PLANNED",
        "3": "FAILED",
        "4": "FAILED",
    }
    assert {lake.ledger.manifest("events", name).failures for name in ids} == {1}
    assert lake.ledger.manifest("events", ids[0]).error_message == "cancelled"


def test_what_a_run_that_is_under_way_takes_is_not_asked_for_again(lake: Lake, asked: dg.RunRequest) -> None:
    definitions = lake_definitions(list(lake.datasets.values()))
    land(lake, "raw/2026/week08/5.json", event(5))
    with open_instance(lake.settings) as instance:
        job = definitions.resolve_job_def("events_manifest")
        begun = instance.create_run_for_job(job, tags=dict(asked.tags), status=dg.DagsterRunStatus.STARTED)
        tick(definitions, instance, "events_arrivals")
        (more,) = requests(tick(definitions, instance, "events_work"))
        assert more.partition_key == "2026-week08.0001"
        instance.report_run_canceled(begun)
        (again,) = requests(tick(definitions, instance, "events_work"))[:1]
    assert again.tags["dagster/asset_partition_range_start"] == "2026-week07.0001"
    assert again.run_key != asked.run_key


def test_what_dagster_keeps_of_a_manifest_does_not_grow_with_its_files(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url) as lake:
        for number in range(50):
            land(lake, f"raw/2026/week07/{number:04}.json", "\x89PNG" if number % 2 else event(number))
        for number in range(400):
            land(lake, f"raw/2026/week08/{number:04}.json", "\x89PNG" if number % 2 else event(number))
        run(lake)
        with open_instance(lake.settings) as instance:
            logs = {
                record.tags["dagster/partition"]: instance.all_logs(record.run_id) for record in instance.get_runs()
            }
    few, many = (logs[f"2026-week{week}.0001"] for week in ("07", "08"))
    assert len(few) == len(many)
    sizes = [sum(len(serialize_value(entry)) for entry in log) for log in (few, many)]
    assert sizes[1] < 1.1 * sizes[0]


def test_a_backfill_does_committed_manifests_of_a_range_anew(lake: Lake) -> None:
    lake.store.delete(["raw/2026/week07/2.json"])
    assert run(lake) == 3
    tags = {
        "dagster/backfill": "abcdefgh",
        "dagster/asset_partition_range_start": "2026-week07.0001",
        "dagster/asset_partition_range_end": "2026-week07.0002",
    }

    assert carry_out(tags)

    assert states(lake) == {"1": ("COMMITTED", 2), "2": ("COMMITTED", 2), "3": ("COMMITTED", 1)}
    assert ids(lake) == ["e1", "e3", "e4"]
    assert materialized(lake) == {stage: Counter({"1": 2, "2": 2, "3": 1}) for stage in ("raw", "curated", "table")}
