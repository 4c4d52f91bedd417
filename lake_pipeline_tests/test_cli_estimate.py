"""`lake estimate`, and what `lake status` and the UI show beside it afterwards."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from lake_pipeline.defs.instance import open_instance
from lake_pipeline.settings import Settings
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> LakeCommand:
    """Three files in two weeks wait, are estimated, and then converted."""
    command = lake_command(tmp_path_factory.mktemp("lake") / "home", shared_database_url, EVENTS)
    for number in range(3):
        command.land(f"raw/2026/week0{7 + number % 2}/{number}.json", event(number))
    return command


@pytest.fixture(scope="module")
def before(lake: LakeCommand) -> dict[str, object]:
    lake("reconcile", "events")
    made = lake.json("estimate", "events", "--region", "eu-central-1")
    lake("run")
    return dict(made)


def test_what_waits_is_estimated_for_each_engine(before: dict[str, object]) -> None:
    assert before["region"] == "eu-central-1"
    engines = before["engines"]
    assert isinstance(engines, dict)
    assert list(engines) == ["local", "spark", "glue"]
    assert {(made["files"], made["manifests"], made["measured"]) for made in engines.values()} == {(3, 2, False)}
    assert engines["local"]["requests"]["copy"] == 0  # the store is a directory
    assert engines["glue"]["requests"]["copy"] >= 3
    assert engines["local"]["dpu_hours"] == 0 < engines["glue"]["dpu_hours"]


@pytest.mark.usefixtures("before")
def test_status_shows_what_was_spent_beside_what_was_estimated(lake: LakeCommand) -> None:
    lines = lake("status").stdout.split("Estimate and cost")[1].splitlines()[1:]
    estimated, spent = (line.split() for line in lines[1:3])
    assert estimated[:3] == ["events", "estimated,", "local"]
    assert spent[:3] == ["events", "spent", "since"]
    assert estimated[5:7] == spent[5:7] == ["2", "3"]
    assert set(lake.json("status")["events"]) == {
        "PENDING",
        "PROCESSING",
        "SUCCEEDED",
        "FAILED",
        "QUARANTINED",
        "SUPERSEDED",
    }


@pytest.mark.usefixtures("before")
def test_each_manifest_says_in_the_ui_what_it_cost(lake: LakeCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**lake.variables, "LAKE_HOME": str(lake.home), "DAGSTER_HOME": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LAKE_DAGSTER_DATABASE_URL", "")
    with open_instance(Settings()) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["events", "curated"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    cost = metadata["cost"].value
    assert isinstance(cost, dict)
    assert cost["engine"] == "local"
    assert cost["seconds"] > 0
    assert metadata["cost USD"].value == pytest.approx(cost["dollars"], abs=1e-6)


@pytest.mark.usefixtures("before")
def test_what_was_measured_is_the_measure_of_what_is_supposed(lake: LakeCommand) -> None:
    made = lake.json("estimate", "events", "--files", "1000000", "--bytes", "1TB")["engines"]
    assert [made[engine]["measured"] for engine in ("local", "spark", "glue")] == [True, False, False]
    assert made["local"]["manifests"] == 233
    table = lake("estimate", "events", "--files", "1000000", "--bytes", "1TB", "--engine", "local").stdout
    assert "233" in table
    assert "measured" in table
    # What is supposed takes the place of no estimate.
    assert "eu-central-1" not in table
    assert lake("status").stdout.count("estimated, local") == 1


@pytest.mark.usefixtures("before")
def test_where_nothing_waits_it_says_what_to_do(lake: LakeCommand) -> None:
    refused = lake("estimate", "events", expect=1)
    assert "lake reconcile events" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--files", "3"], "go together"),
        (["--files", "3", "--bytes", "much"], "not a size"),
    ],
)
def test_suppositions_that_make_no_sense_are_refused(lake: LakeCommand, options: list[str], why: str) -> None:
    assert why in lake("estimate", "events", *options, expect=2).stderr


def test_a_region_without_prices_is_refused(lake: LakeCommand) -> None:
    refused = lake("estimate", "events", "--files", "3", "--bytes", "1GB", "--region", "mars-1", expect=1)
    assert "'mars-1'" in refused.stderr
    assert Path(lake.home).exists()
