"""`lake pause`: nothing more is begun, by whomever, and what is under way is awaited; `lake prune`: a shorter log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from lake_pipeline.attempts import run_attempt
from lake_pipeline.defs.factory import dataset_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.pruning import prune_events
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.running import run_datasets
from lake_pipeline.discovery.listing import discover
from lake_pipeline.errors import LakePaused
from lake_pipeline.lake import Lake
from lake_pipeline.progress import due_work
from lake_pipeline_tests.command_line import lake_command
from lake_pipeline_tests.failing import convert
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, states
from lake_pipeline_tests.ledger_samples import LEASE

DROPS = {"name": "drops", "source": {"prefix": "drops/", "format": "ndjson"}, "output": {"prefix": "drop-table/"}}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url) as opened:
        yield opened


def test_a_paused_dataset_is_left_alone_by_runs_sensors_and_attempts_and_registers_what_lands(lake: Lake) -> None:
    dataset = lake.datasets["events"]
    land(lake, "raw/2026/week07/a.json", event(1))
    lake.ledger.pause(["events"], "a test", "the budget is spent")

    assert run_datasets(lake, [dataset], lambda _: None) == 0
    assert states(lake) == {"raw/2026/week07/a.json": "PENDING"}
    (due,) = due_work(lake, dataset, flush=True, limit=1)
    with pytest.raises(LakePaused, match=r"by a test: the budget is spent; lake resume events"):
        run_attempt(lake, dataset, due.manifest_id, convert)
    assert lake.ledger.manifest("events", due.manifest_id).attempt == 0
    definitions = dataset_definitions(dataset)
    with (
        open_instance(lake.settings) as instance,
        dg.build_sensor_context(instance=instance, resources={"lake": LakeResource()}) as context,
    ):
        (work,) = (sensor for sensor in definitions.sensors or [] if sensor.name == "events_work")
        skipped = work.evaluate_tick(context).skip_message
        assert skipped is not None
        assert skipped.startswith("events is paused since ")

    assert lake.ledger.resume(["events"]) == 1
    assert run_datasets(lake, [dataset], lambda _: None) == 1
    assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED"}


def test_the_commands_pause_wait_tell_and_resume(tmp_path: Path, database_url: str, lake: Lake) -> None:
    command = lake_command(tmp_path / "home", database_url, EVENTS, DROPS)
    land(lake, "raw/2026/week07/a.json", event(1))
    dataset = lake.datasets["events"]
    discover(dataset, lake.store, lake.ledger)
    (due,) = due_work(lake, dataset, flush=True, limit=1)
    attempt = lake.ledger.begin_attempt("events", due.manifest_id, "somebody/1/1.0", LEASE)

    waiting = command.start("pause", "--wait", "--reason", "an upgrade", "--json")
    assert waiting.stderr is not None
    assert waiting.stderr.readline() == "waiting for 1 manifests\n"
    lake.ledger.release_attempt("events", due.manifest_id, attempt)
    told, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert '"running": {}' in told

    assert "an upgrade" in command("status").stderr
    assert command("run", expect=1).stderr.splitlines()[-1].endswith("; lake resume")
    assert command.json("resume", "events") == {"resumed": 1}
    assert "drops is paused" in command("status").stderr
    assert command.json("resume") == {"resumed": 1}
    assert command("resume").stdout == "nothing was paused\n"


def test_pruning_deletes_what_old_runs_said_and_keeps_what_they_materialized(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1))
    run_datasets(lake, list(lake.datasets.values()), lambda _: None)
    with open_instance(lake.settings) as instance:
        before = instance.get_records_for_run(instance.get_runs()[0].run_id).records
        partitions = instance.get_materialized_partitions(dg.AssetKey(["events", "curated"]))
        now = lake.ledger.now()
        assert prune_events(instance, now - timedelta(days=1)) == 0
        lines = prune_events(instance, now + timedelta(days=1), dry_run=True)
        assert prune_events(instance, now + timedelta(days=1)) == lines > 10
        after = instance.get_records_for_run(instance.get_runs()[0].run_id).records
        assert len(after) == len(before) - lines
        assert instance.get_materialized_partitions(dg.AssetKey(["events", "curated"])) == partitions
