"""`lake schema preview`: what the backlog would do to the schema, with nothing converted, claimed or changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event

WEEK = "raw/2026/week07"


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    command = lake_command(tmp_path / "home", database_url, EVENTS)
    command.land(f"{WEEK}/a.json", event(1, distance=4, user={"name": "Ada"}))
    command("run")
    return command


def everything(lake: LakeCommand) -> tuple[Any, ...]:
    store = lake.home / "store"
    return (
        lake.json_lines("files"),
        lake.json("schema", "events"),
        sorted((str(path), path.stat().st_mtime_ns) for path in store.rglob("*") if path.is_file()),
    )


def test_it_names_new_columns_and_misfits_with_their_first_file_and_line_and_changes_nothing(
    lake: LakeCommand,
) -> None:
    lake.land(f"{WEEK}/b.json", event(2, distance=5), event(3, distance="far", weather={"sky": "clear"}))
    lake.land("raw/2026/week08/c.json", event(4, user="Ben"), event(5, weather={"sky": 7, "celsius": 1.5}))
    lake.land("raw/2026/week08/broken.json", "\x89PNG")
    before = everything(lake)

    preview = lake.json("schema", "preview", "events")

    assert everything(lake) == before
    assert (preview["files"], preview["records"]) == (3, 4)
    assert [(added["column"], added["type"], added["example"]) for added in preview["added"]] == [
        ("weather_sky", "string", f"{WEEK}/b.json:2"),
        ("weather_celsius", "double", "raw/2026/week08/c.json:2"),
    ]
    assert {(item["column"], item["type"], item["kind"], item["example"]) for item in preview["conflicts"]} == {
        ("distance", "bigint", "string", f"{WEEK}/b.json:2"),
        ("user", "object", "string", "raw/2026/week08/c.json:1"),
        ("weather_sky", "string", "int", "raw/2026/week08/c.json:2"),
    }
    assert list(preview["unreadable"]) == ["raw/2026/week08/broken.json"]
    assert preview["refusals"] == []


def test_what_it_says_is_what_the_run_does(lake: LakeCommand) -> None:
    lake.land(f"{WEEK}/b.json", event(2, weather={"sky": "clear"}))
    lake.land("raw/2026/week08/c.json", event(5, weather={"sky": 7}))
    preview = lake.json("schema", "preview", "events")

    lake("run")

    (_, version) = lake.json("schema", "events")["history"]
    assert [change["column"] for change in version["changes"]] == [added["column"] for added in preview["added"]]
    (rescued,) = lake.json_lines("query", "select id, _rescued from events where _rescued is not null")
    assert rescued == {"id": "e5", "_rescued": '{"weather_sky":7}'}


def test_pending_files_of_the_ledger_are_looked_at_once(lake: LakeCommand) -> None:
    lake("requeue", "events", "--manifest", "2026-week07.0001")
    preview = lake.json("schema", "preview", "events")

    assert (preview["files"], preview["records"], preview["added"], preview["conflicts"]) == (1, 1, [], [])


def test_nothing_waiting_is_nothing_to_tell(lake: LakeCommand) -> None:
    assert lake("schema", "preview", "events").stdout == "0 files, 0 B, 0 records; schema.mode is evolve\n"


@pytest.mark.slow
def test_in_mode_strict_every_difference_that_would_fail_a_manifest_is_named_and_the_exit_code_is_1(
    tmp_path: Path, database_url: str
) -> None:
    strict = EVENTS | {"schema": EVENTS["schema"] | {"mode": "strict"}}
    lake = lake_command(tmp_path / "home", database_url, strict)
    lake.land(f"{WEEK}/a.json", event(1, distance=4))
    lake("run")
    lake.land(f"{WEEK}/b.json", event(2, distance="far"), event(3, note="x"))

    shown = lake("schema", "preview", "events", expect=1).stdout

    assert f"{WEEK}/b.json:1: column 'distance' is bigint, and this value is or holds string" in shown
    assert f"{WEEK}/b.json:2: new key 'note' (string)" in shown
    assert "no place in a known schema in mode strict" in shown


def test_data_used_as_keys_is_found_before_it_fails_a_manifest(tmp_path: Path, database_url: str) -> None:
    narrow = EVENTS | {"schema": EVENTS["schema"] | {"max_columns": 5}}
    lake = lake_command(tmp_path / "home", database_url, narrow)
    lake.land(f"{WEEK}/a.json", event(1, by_user={f"u{number}": 1 for number in range(9)}))

    (refusal,) = json.loads(lake("schema", "preview", "events", "--json", expect=1).stdout)["refusals"]

    assert "by_user" in refusal
