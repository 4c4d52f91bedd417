"""`lake rebuild`, and what leads to it: a database that was deleted by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import ANY

import pytest

from lake_pipeline.documents import IDENTITY
from lake_pipeline.ledger.migrate import migrate
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land
from lake_pipeline_tests.ledgers import everything, work

ROWS = "select id, mode, _source_file from events order by id"


@pytest.fixture
def embedded(short_dir: Path, database_url: str) -> LakeCommand:
    """A lake with a Postgres of its own, below its home."""
    command = lake_command(short_dir / "home", database_url, EVENTS)
    variables = {name: value for name, value in command.variables.items() if name != "LAKE_DATABASE_URL"}
    return LakeCommand(command.home, variables)


def landed(lake: LakeCommand) -> LakeCommand:
    lake.land("raw/2026/week07/a.json", event(1), event(2))
    lake.land("raw/2026/week07/b.json", event(3), "no json")
    return lake


def test_a_postgres_deleted_by_hand_is_noticed_and_made_anew(embedded: LakeCommand) -> None:
    lake = landed(embedded)
    lake("run")
    shown, files = lake.json_lines("query", ROWS), lake.json_lines("files")
    shutil.rmtree(lake.home / "postgres")
    lake.land("raw/2026/week08/c.json", event(4))

    refused = lake("run", expect=1)
    assert refused.stderr.startswith("error: This ledger is not the one that this lake was made with, so nothing was")
    assert "the ledger is empty" in refused.stderr
    assert "`lake rebuild` makes the ledger anew" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert lake.json("status") == {"events": {}}, "who only asks is answered"

    done = lake("rebuild")
    assert done.stdout.splitlines()[1].split() == ["events", "1", "0", "2", "1", "3", "1"]
    assert done.stdout.splitlines()[-1] == "the ledger is rebuilt. Next: lake run"
    assert lake.json_lines("files") == files
    lake("run")
    assert lake.json_lines("query", ROWS) == [*shown, {"id": "e4", "mode": "bike", "_source_file": _key("08/c")}]
    assert [row["manifest_id"] for row in lake.json_lines("files")] == [
        "2026-week07.0001",
        "2026-week07.0001",
        "2026-week08.0001",
    ]


def _key(name: str) -> str:
    return f"raw/2026/week{name}.json"


@pytest.mark.slow
def test_kills_before_a_commit_is_written_down_and_within_a_rebuild_cost_no_row(
    tmp_path: Path, database_url: str, empty_database_url: str
) -> None:
    lake = landed(lake_command(tmp_path / "home", database_url, EVENTS))
    failing(lake, "commit.committed=kill")("run", expect=-9)
    lost = LakeCommand(lake.home, {**lake.variables, "LAKE_DATABASE_URL": empty_database_url})
    migrate(empty_database_url)
    before = everything(empty_database_url)

    failing(lost, "rebuild.replacing=kill")("rebuild", expect=-9)
    assert everything(empty_database_url) == before
    failing(lost, "rebuild.replaced=kill")("rebuild", expect=-9)
    assert "is older than its identity" in lost("requeue", "events", "--key", _key("07/a"), expect=1).stderr
    assert lost.json("rebuild", "--yes")["events"] == {
        **{"manifests": 1, "planned": 1, "files": 2, "outputs": 0, "rows": 0, "schema_versions": 0},
        "findings": [{"kind": "leftover", "count": 1, "examples": [ANY]}],
    }
    lost("run")

    assert [row["id"] for row in lost.json_lines("query", ROWS)] == ["e1", "e2", "e3"]


def failing(lake: LakeCommand, failpoint: str) -> LakeCommand:
    """The same with a failpoint armed."""
    return LakeCommand(lake.home, {**lake.variables, "LAKE_FAILPOINTS": failpoint})


def test_what_a_rebuild_replaces_and_cannot_account_for_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url) as opened:
        land(opened, _key("07/a"), event(1))
        work(opened)
        opened.store.put("archive/stranger.json", b"{}")
        opened.store.delete([IDENTITY])
    lake = LakeCommand(tmp_path, {"LAKE_DATASETS": str(tmp_path / "datasets"), "LAKE_DATABASE_URL": database_url})
    assert "`lake rebuild --documents` writes it anew" in lake("reconcile", expect=1).stderr

    assert lake.json("rebuild", "--documents", "--yes") == {"events": 1}
    asked = lake("rebuild", expect=2).stderr
    done = lake("rebuild", "--yes", expect=1)

    assert "--yes" in asked
    assert "1 files in the archive or in quarantine are in no document" in done.stderr
    assert "archive/stranger.json" in done.stderr
    assert "not everything in the store could be accounted for" in done.stderr
