"""What `lake` tells of a lake that has been run: status, files, schema, query; and how it says no."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake_pipeline import __version__
from lake_pipeline.reports import time_text
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event

QUIET = {"name": "quiet", "source": {"prefix": "quiet/"}, "output": {"prefix": "quiet-table/"}}
FIRST_FIELDS = [
    "s3_key",
    "status",
    "rows_read",
    "rows_written",
    "rows_rescued",
    "rows_quarantined",
    "manifest_id",
    "error_message",
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> LakeCommand:
    """Three good records, a line and a file that are no JSON, and a file whose name looks like Rich's markup."""
    command = lake_command(tmp_path_factory.mktemp("lake") / "home", shared_database_url, EVENTS, QUIET)
    command.land("raw/2026/week07/a.json", event(1, ts="2026-02-01T10:00:00Z"), event(2, tags=["x"]), "ERROR 503")
    command.land("raw/2026/week07/broken.json", "\x89PNG")
    command.land("raw/2026/week08/[red]b.json", event(3, mode="car", note="one\ntwo"))
    command("run")
    return command


def test_status_counts_files_by_state_for_every_declared_dataset(lake: LakeCommand) -> None:
    nothing = {"PENDING": 0, "PROCESSING": 0, "FAILED": 0, "SUPERSEDED": 0}
    assert lake.json("status") == {"events": {"SUCCEEDED": 2, "QUARANTINED": 1} | nothing, "quiet": {}}
    assert lake.json("status", "quiet") == {"quiet": {}}

    lines = lake("status").stdout.splitlines()

    assert lines[0].split()[:5] == ["dataset", "PENDING", "PROCESSING", "SUCCEEDED", "FAILED"]
    assert lines[1].split() == ["events", "0", "0", "2", "0", "1", "0"]
    assert next(line for line in lines if "2026-week07.0001" in line).split()[:6] == [
        "events",
        "2026-week07.0001",
        "COMMITTED",
        "1",
        "2",
        "2",
    ]


def test_files_tells_of_every_file_what_became_of_it(lake: LakeCommand) -> None:
    good, broken, other = lake.json_lines("files", "events")

    assert list(good)[:8] == FIRST_FIELDS
    assert good["rows_dropped"] == 0
    assert set(good) == {
        *FIRST_FIELDS,
        "rows_dropped",
        "rows_exploded",
        "rows_erased",
        *("dataset", "etag", "size", "landing_group", "retry_count", "archived_key"),
        *("last_modified", "discovered_at", "claimed_at", "processed_at"),
    }
    assert [good[name] for name in FIRST_FIELDS[:7]] == [
        *("raw/2026/week07/a.json", "SUCCEEDED", 3, 2, 0, 1, "2026-week07.0001"),
    ]
    assert (good["dataset"], good["landing_group"], good["retry_count"]) == ("events", "2026/week07", 0)
    assert good["archived_key"] == "archive/2026/week07/a.json"
    assert datetime.fromisoformat(good["processed_at"]) >= datetime.fromisoformat(good["discovered_at"])
    assert (broken["status"], broken["rows_written"]) == ("QUARANTINED", 0)
    assert "JSON" in broken["error_message"]
    assert (other["s3_key"], other["status"]) == ("raw/2026/week08/[red]b.json", "SUCCEEDED")


def test_files_are_found_by_state_and_by_key(lake: LakeCommand) -> None:
    assert [file["s3_key"] for file in lake.json_lines("files", "events", "--status", "quarantined")] == [
        "raw/2026/week07/broken.json"
    ]
    assert len(lake.json_lines("files", "--key", "raw/2026/week07/a.json")) == 1
    assert lake.json_lines("files", "quiet") == []

    table = lake("files").stdout.splitlines()

    assert table[0].split() == [*FIRST_FIELDS, "rows_dropped"]
    assert table[3].split() == ["raw/2026/week08/[red]b.json", "SUCCEEDED", *"1100", "2026-week08.0001", "0"]


def test_a_query_answers_in_a_table_in_json_and_in_csv(lake: LakeCommand) -> None:
    sql = "select id, ts, tags, note, 1.50::decimal(5,2) as price, {'a': 1} as s, id from events order by id"

    first, second, third = lake.json_lines("query", sql)
    assert first == {
        "id": "e1",
        "ts": "2026-02-01T10:00:00Z",
        "tags": None,
        "note": None,
        "price": "1.50",
        "s": {"a": 1},
        "id_2": "e1",
    }
    assert (second["tags"], third["note"]) == (["x"], "one\ntwo")

    printed = list(csv.reader(io.StringIO(lake("query", sql, "--csv").stdout)))
    assert printed[0] == ["id", "ts", "tags", "note", "price", "s", "id_2"]
    assert printed[2][2] == '["x"]'
    assert printed[3][3] == "one\ntwo"

    counted = lake("query", "-", stdin="select mode, count(*) as n from events group by 1 order by 1")
    assert counted.stdout.splitlines() == ["mode  n", "bike  2", "car   1"]
    assert lake("query", "select note from events where id = 'e3'").stdout.splitlines() == ["note", "one\\ntwo"]
    assert lake("query", "select null as x").stdout.splitlines() == ["x", "NULL"]


def test_schema_prints_versions_with_what_changed_when_and_by_which_manifest(lake: LakeCommand) -> None:
    history = lake.json("schema", "events")["history"]
    shown = lake("schema", "events").stdout.partition("History")[2].splitlines()

    (second,) = [line.split() for line in shown if line.split()[:1] == ["2"]]
    when = datetime.fromisoformat(history[1]["created_at"])
    assert timedelta(0) < datetime.now(UTC) - when < timedelta(hours=1)
    assert second == ["2", *time_text(when).split(), "2026-week08.0001", "added", "note", "string", second[-1]]
    assert second[-1].startswith("raw/2026/week08/")


def test_the_schema_shows_columns_and_which_manifest_brought_them(lake: LakeCommand) -> None:
    schema = lake.json("schema", "events")

    assert (schema["dataset"], schema["version"]) == ("events", 2)
    assert schema["columns"][:2] == [
        {"name": "id", "type": "string", "path": "id"},
        {"name": "date", "type": "string", "path": "DATE"},
    ]
    assert {"name": "tags", "type": "list<string>", "path": "tags"} in schema["columns"]
    assert [(version["version"], version["manifest_id"]) for version in schema["history"]] == [
        (1, "2026-week07.0001"),
        (2, "2026-week08.0001"),
    ]
    assert [change["column"] for change in schema["history"][1]["changes"]] == ["note"]
    shown = lake("schema", "events").stdout
    assert "list<string>" in shown
    assert "raw/2026/week08/[red]b.json:1" in shown
    assert lake.json("schema", "quiet") == {"dataset": "quiet", "version": 0, "columns": [], "history": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "nope"], "No dataset of that name is declared: 'nope'; declared are events, quiet"),
        (["files", "nope"], "No dataset of that name is declared"),
        (["run", "nope"], "No dataset of that name is declared"),
        (["query", "select * from nope"], "The query failed: Catalog Error"),
        (["requeue", "events", "--key", "nope"], "Nothing in the ledger matches: events has no file with key nope"),
        (["requeue", "events", "--partition", "month=9", "--group", "x"], "Nothing in the ledger matches: events has"),
        (["requeue", "events", "--status", "FAILED"], "Nothing in the ledger matches: events has no file"),
        (["requeue", "quiet", "--manifest", "x.0001"], "Nothing in the ledger matches: quiet has no file"),
    ],
)
def test_what_cannot_be_done_is_one_error_and_exit_1(lake: LakeCommand, arguments: list[str], message: str) -> None:
    refused = lake(*arguments, expect=1)

    assert refused.stderr.startswith(f"error: {message}")
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["status", "--nope"],
        ["files", "--status", "LOST"],
        ["requeue", "events"],
        ["requeue", "events", "--status", "LOST", "--dry-run"],
        ["query", " "],
        ["query", "select 1", "--json", "--csv"],
    ],
)
def test_what_is_not_understood_is_exit_2(lake: LakeCommand, arguments: list[str]) -> None:
    assert "Usage: lake" in lake(*arguments, expect=2).stderr


def test_a_ledger_that_cannot_be_reached_is_one_error_without_the_password(tmp_path: Path) -> None:
    away = LakeCommand(tmp_path, {"LAKE_DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/lake"})

    refused = away("status", expect=1)

    assert refused.stderr.startswith(
        "error: The ledger's database does not answer: postgresql://me:***@127.0.0.1:1/lake"
    )
    assert "secret" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_query_before_anything_was_converted_says_what_to_do(tmp_path: Path) -> None:
    assert "lake run" in LakeCommand(tmp_path)("query", "select 1", expect=1).stderr


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    lake = LakeCommand(tmp_path)
    assert lake("--version").stdout == f"lake {__version__}\n"
    for words in (
        "demo",
        "dev",
        "run",
        "status",
        "files",
        "query",
        "requeue",
        "schema",
        "datasets",
        "datasets validate",
    ):
        assert f"Example: lake {words}" in lake(*words.split(), "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["status", "--json"],
        ["files", "--json"],
        ["schema", "events"],
        ["query", "select 1"],
        ["datasets"],
        ["requeue", "events", "--key", "nope"],
    ],
)
def test_what_only_asks_does_not_import_dagster(lake: LakeCommand, arguments: list[str]) -> None:
    program = """
import sys, lake_pipeline.cli as cli
try:
    cli.main()
except SystemExit:
    pass
print("imported:", sorted({name.split(".")[0] for name in sys.modules} & {"dagster", "sqlalchemy", "alembic"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=lake.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_a_reader_that_stops_early_is_no_error(lake: LakeCommand) -> None:
    with lake.start("query", "select range from range(1000000)", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == '{"range":0}\n'
        process.stdout.close()
        assert process.stderr.read() == ""
