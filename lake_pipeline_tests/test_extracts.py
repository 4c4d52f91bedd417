"""Extracts: named SQL over a table, kept as Parquet, fresh after every run, and unable to read anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
import yaml

from lake_pipeline.declarations import load_datasets
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.errors import DeclarationError, ExtractFailed
from lake_pipeline.lake import Lake
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored

BIKES = {"name": "bikes", "sql": "select id, mode from events where mode = 'bike'; ", "description": "bikes only"}
DAYS = {"name": "days", "sql": "select day, count(*) as n from events group by 1 -- by day"}
KEY = dg.AssetKey(["events", "extracts", "bikes"])


def declared(*extracts: dict[str, Any]) -> dict[str, Any]:
    return EVENTS | {"extracts": list(extracts)}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, declared(BIKES, DAYS)) as opened:
        land(opened, "raw/2026/week07/a.json", event(1), event(2, mode="car"))
        land(opened, "raw/2026/week08/b.json", event(3, day=9))
        run(opened)
        yield opened


def test_a_run_makes_each_extract_a_table_and_parquet_files_that_its_manifest_lists(lake: Lake) -> None:
    assert sorted(rows(lake, "select * from events_bikes")) == [("e1", "bike"), ("e3", "bike")]
    assert sorted(rows(lake, "select day, n from events_days")) == [(1, 2), (9, 1)]
    manifest = lake.store.get_json("extracts/events/bikes/manifest.json")
    assert manifest["sql"] == BIKES["sql"]
    (file,) = manifest["files"]
    with lake.store.open(file["path"]) as written:
        assert pq.read_table(written).num_rows == file["rows"] == 2
    assert stored(lake, "extracts/events/bikes/") == sorted([file["path"], "extracts/events/bikes/manifest.json"])


def test_new_rows_and_replaced_ones_are_in_the_extract_after_the_run_and_the_old_folder_is_gone(lake: Lake) -> None:
    before = stored(lake, "extracts/events/bikes/")
    land(lake, "raw/2026/week08/c.json", event(4, day=9))
    land(lake, "raw/2026/week07/a.json", event(1, mode="bus"))
    run(lake)

    assert sorted(rows(lake, "select id from events_bikes")) == [("e3",), ("e4",)]
    after = stored(lake, "extracts/events/bikes/")
    assert len(after) == 2
    assert set(before) & set(after) == {"extracts/events/bikes/manifest.json"}


def test_a_run_without_news_leaves_extracts_alone(lake: Lake) -> None:
    before = lake.store.get_json("extracts/events/bikes/manifest.json")
    run(lake)
    assert lake.store.get_json("extracts/events/bikes/manifest.json") == before


def test_dagster_shows_an_extract_below_the_table_with_its_rows(lake: Lake) -> None:
    graph = lake_definitions(list(lake.datasets.values())).resolve_asset_graph()
    assert graph.get(KEY).parent_keys == {dg.AssetKey(["events", "table"])}
    with open_instance(lake.settings) as instance:
        event_ = instance.get_latest_materialization_event(KEY)
    assert event_ is not None
    assert event_.asset_materialization is not None
    assert event_.asset_materialization.metadata["dagster/row_count"].value == 2


def test_the_sensor_asks_for_one_run_of_what_is_stale_however_often_it_ticks(lake: Lake) -> None:
    definitions = lake_definitions(list(lake.datasets.values()))
    sensor = definitions.resolve_sensor_def("events_extracts")
    with open_instance(lake.settings) as instance:

        def tick() -> object:
            with dg.build_sensor_context(
                instance=instance, definitions=definitions, resources={"lake": LakeResource()}
            ) as context:
                return sensor(context)

        assert isinstance(tick(), dg.SkipReason)
        lake.store.delete(["extracts/events/bikes/manifest.json"])
        first, second = tick(), tick()

    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert first.asset_selection == [KEY]
    assert first.run_key == second.run_key


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("select * from read_text('{secret}')", "Permission"),
        ("select * from '{secret}'", "Permission"),
        ("select * from read_csv('{secret}')", "Permission"),
        ("select * from glob('{folder}/*')", "Permission"),
        ("select getenv('HOME')", "getenv"),
        ("copy events to '{folder}/out.csv'", "one SELECT"),
        ("select 1; select 2", "one SELECT"),
        ("", "one SELECT"),
        ("select 1) to '{folder}/out.csv' (format csv) --", "syntax"),
        ("select nonesuch from events", "nonesuch"),
    ],
)
def test_sql_that_reads_or_writes_anything_else_fails_with_the_reason_and_the_rows_are_safe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, sql: str, reason: str
) -> None:
    (tmp_path / "secret.csv").write_text("a,b\nsecret,1\n")
    text = sql.format(secret=tmp_path / "secret.csv", folder=tmp_path)
    with lake_of(monkeypatch, tmp_path, database_url, declared({"name": "odd", "sql": text})) as lake:
        land(lake, "raw/a.json", event(1))
        with pytest.raises(ExtractFailed, match=r"events\.odd") as failed:
            run(lake)
        assert reason.lower() in str(failed.value).lower()
        assert states(lake) == {"raw/a.json": "SUCCEEDED"}
        assert rows(lake, "select id from events") == [("e1",)]
        assert stored(lake, "extracts/") == []
    assert not (tmp_path / "out.csv").exists()


def test_extracts_whose_tables_have_one_name_are_refused(tmp_path: Path) -> None:
    other = EVENTS | {
        "name": "events_bikes",
        "source": {"prefix": "x/"},
        "output": {"prefix": "y/"},
        "archive": {"action": "keep"},
    }
    for declaration in (declared(BIKES), other):
        (tmp_path / f"{declaration['name']}.yaml").write_text(yaml.safe_dump(declaration))
    with pytest.raises(DeclarationError, match=r"extracts\[0\]\.name: the table events_bikes is declared by"):
        load_datasets(tmp_path)
    (tmp_path / "events_bikes.yaml").unlink()
    (tmp_path / "events.yaml").write_text(yaml.safe_dump(declared(BIKES, BIKES)))
    with pytest.raises(DeclarationError, match="two extracts have the same name"):
        load_datasets(tmp_path)
