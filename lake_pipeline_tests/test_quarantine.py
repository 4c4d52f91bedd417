"""`lake quarantine`: what was set aside is listed, shown, mended and replayed, and each record is a row once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event

WEEK = "raw/2026/week07"


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """A file with a bad line, a file that is no JSON, a good file; all converted."""
    command = lake_command(tmp_path / "home", database_url, EVENTS)
    command.land(f"{WEEK}/a.json", event(1), "ERROR 503", event(2))
    command.land(f"{WEEK}/b.json", event(3))
    command.land(f"{WEEK}/broken.json", "\x89PNG", "\x1b[31mred")
    command("run")
    return command


def ids(lake: LakeCommand) -> list[str]:
    return [row["id"] for row in lake.json_lines("query", "select id from events order by id")]


def declare(lake: LakeCommand, declaration: dict[str, Any]) -> None:
    (lake.home / "datasets" / f"{declaration['name']}.yaml").write_text(yaml.safe_dump(declaration))


def test_list_names_files_and_records_with_line_reason_manifest_and_time(lake: LakeCommand) -> None:
    file, record = lake.json_lines("quarantine", "list", "events")

    assert (file["file"], file["line"], file["error_class"]) == (f"{WEEK}/broken.json", None, "Unreadable")
    assert (record["file"], record["line"], record["error_class"]) == (f"{WEEK}/a.json", 2, "BadRecord")
    assert "not JSON" in record["reason"]
    assert {entry["manifest_id"] for entry in (file, record)} == {"2026-week07.0001"}
    assert all(entry["quarantined_at"].startswith("20") for entry in (file, record))
    assert len(lake("quarantine", "list").stdout.splitlines()) == 3


def test_show_gives_the_raw_text_of_a_record_and_the_first_bytes_of_a_file(lake: LakeCommand) -> None:
    (record,) = lake.json_lines("quarantine", "show", "events", f"{WEEK}/a.json", "--line", "2")
    assert record["raw"] == "ERROR 503"
    (file,) = lake.json_lines("quarantine", "show", "events", f"{WEEK}/broken.json")
    assert file["raw"] == "\x89PNG\n\x1b[31mred\n"
    assert file["location"] == "quarantine/events/files/2026/week07/broken.json"

    shown = lake("quarantine", "show", "events", f"{WEEK}/broken.json").stdout

    assert "none of its 2 records can be read" in shown.splitlines()[0]
    assert "\x1b" not in shown, "a stranger's text does not reach the terminal's controls"
    nothing = lake("quarantine", "show", "events", f"{WEEK}/b.json", expect=1).stderr
    assert f"events has nothing in quarantine of {WEEK}/b.json" in nothing
    assert "at line 9" in lake("quarantine", "show", "events", f"{WEEK}/a.json", "--line", "9", expect=1).stderr


def test_bytes_that_are_no_text_are_shown_escaped_and_in_json_as_base64(lake: LakeCommand) -> None:
    path = lake.home / "store" / WEEK / "c.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"id":"e9"}\n\xff\xfe{}\n')
    lake("run")

    (record,) = lake.json_lines("quarantine", "show", "events", f"{WEEK}/c.json")

    assert (record["line"], record["raw_base64"]) == (2, "//57fQo=")
    assert "\\xff\\xfe{}" in lake("quarantine", "show", "events", f"{WEEK}/c.json").stdout


def test_a_file_mended_where_it_lies_is_replayed_and_each_record_is_a_row_once(lake: LakeCommand) -> None:
    archived = lake.home / "store/archive/2026/week07/a.json"
    archived.write_text(archived.read_text().replace("ERROR 503", '{"id":"e9","DATE":"2026-02-01","MODE":"bus"}'))

    done = lake.json("quarantine", "replay", "events", "--key", f"{WEEK}/a.json")
    lake("run")

    assert done == {
        **{"files": 0, "records": 1, "manifests": ["2026-week07.0001"]},
        **{"mended": [f"{WEEK}/a.json"], "dry_run": False},
    }
    assert ids(lake) == ["e1", "e2", "e3", "e9"]
    assert [entry["file"] for entry in lake.json_lines("quarantine", "list")] == [f"{WEEK}/broken.json"]
    states = [file["status"] for file in lake.json_lines("files", "--key", f"{WEEK}/a.json")]
    assert states == ["SUPERSEDED", "SUCCEEDED"]


def test_everything_that_was_set_aside_is_replayed_at_once_and_quarantine_is_empty(lake: LakeCommand) -> None:
    archived = lake.home / "store/archive/2026/week07/a.json"
    archived.write_text(archived.read_text().replace("ERROR 503\n", ""))
    lake.land("quarantine/events/files/2026/week07/broken.json", event(7))

    lake("quarantine", "replay", "events", "--all")
    lake("run")

    assert ids(lake) == ["e1", "e2", "e3", "e7"]
    assert lake.json_lines("quarantine", "list") == []
    assert "nothing is set aside" in lake("quarantine", "list").stderr
    assert lake.json("status")["events"]["SUCCEEDED"] == 3
    assert not list((lake.home / "store/quarantine").rglob("*.ndjson"))


@pytest.mark.slow
def test_a_replay_without_a_mend_ends_where_it_began(lake: LakeCommand) -> None:
    before = (ids(lake), [entry["reason"] for entry in lake.json_lines("quarantine", "list")])

    lake("quarantine", "replay", "events", "--all")
    lake("run")

    assert (ids(lake), [entry["reason"] for entry in lake.json_lines("quarantine", "list")]) == before


def test_a_dry_run_says_what_would_be_rewritten_and_changes_nothing(lake: LakeCommand) -> None:
    archived = lake.home / "store/archive/2026/week07/a.json"
    archived.write_text("mended\n")
    before = lake.json_lines("files")

    said = lake("quarantine", "replay", "events", "--manifest", "2026-week07.0001", "--dry-run").stdout

    assert said.splitlines() == [
        f"{WEEK}/a.json: mended; lands again as a new version",
        "files set aside whole, for a new manifest: 1",
        "manifest 2026-week07.0001: the rows of its 3 files are written anew, each once",
        "nothing was changed",
    ]
    assert lake.json_lines("files") == before
    assert archived.exists()


def test_replay_refuses_what_is_not_set_aside_and_what_is_ambiguous(lake: LakeCommand) -> None:
    assert (
        "nothing in quarantine with key"
        in lake("quarantine", "replay", "events", "--key", f"{WEEK}/b.json", expect=1).stderr
    )
    assert "exactly one" in lake("quarantine", "replay", "events", "--all", "--key", "x", expect=2).stderr
    lake("quarantine", "replay", "events", expect=2)


def test_a_mended_file_whose_key_has_landed_anew_is_refused(lake: LakeCommand) -> None:
    lake.land("quarantine/events/files/2026/week07/broken.json", event(7))
    lake.land(f"{WEEK}/broken.json", event(8))

    refused = lake("quarantine", "replay", "events", "--all", expect=1).stderr

    assert f"{WEEK}/broken.json has landed anew" in refused


@pytest.mark.slow
def test_files_set_aside_for_a_wrong_records_path_are_rows_once_the_declaration_is_mended(
    tmp_path: Path, database_url: str
) -> None:
    wrong = EVENTS | {"source": EVENTS["source"] | {"format": "json", "records": "data.items"}}
    lake = lake_command(tmp_path / "home", database_url, wrong)
    for number in (1, 2):
        lake.land(f"{WEEK}/{number}.json", {"data": {"rows": [event(number), event(number + 10)]}})
    lake("run")
    assert [entry["line"] for entry in lake.json_lines("quarantine", "list")] == [None, None]

    declare(lake, wrong | {"source": wrong["source"] | {"records": "data.rows"}})
    lake("quarantine", "replay", "events", "--all")
    lake("run")

    assert ids(lake) == ["e1", "e11", "e12", "e2"]
    assert lake.json_lines("quarantine", "list") == []
    assert [file["manifest_id"] for file in lake.json_lines("files")] == ["2026-week07.0002"] * 2
    assert sorted(path.name for path in (lake.home / "store/archive").rglob("*.json")) == ["1.json", "2.json"]


@pytest.mark.slow
def test_rows_and_records_of_a_wrong_array_are_replaced_once_the_declaration_is_mended(
    tmp_path: Path, database_url: str
) -> None:
    wrong = EVENTS | {"source": EVENTS["source"] | {"format": "json", "records": "sent"}}
    lake = lake_command(tmp_path / "home", database_url, wrong)
    lake.land(f"{WEEK}/a.json", {"sent": [event(9), "12:30"], "rows": [event(1), event(2)]})
    lake.land(f"{WEEK}/b.json", {"sent": [event(8)], "rows": [event(3)]})
    lake("run")
    assert ids(lake) == ["e8", "e9"]
    assert [entry["reason"] for entry in lake.json_lines("quarantine", "list")] == [
        "a record must be an object, and this is a string"
    ]

    declare(lake, wrong | {"source": wrong["source"] | {"records": "rows"}})
    lake("quarantine", "replay", "events", "--manifest", "2026-week07.0001")
    lake("run")

    assert ids(lake) == ["e1", "e2", "e3"]
    assert lake.json_lines("quarantine", "list") == []
