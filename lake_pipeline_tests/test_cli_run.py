"""`lake run` and `lake requeue`: again and again, with the same rows once."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """Two files of one week, landed and not yet seen."""
    command = lake_command(tmp_path / "home", database_url, EVENTS)
    command.land("raw/2026/week07/a.json", event(1), event(2))
    command.land("raw/2026/week07/b.json", event(3))
    return command


def rows(lake: LakeCommand) -> list[dict[str, Any]]:
    return lake.json_lines("query", "select id, mode, _source_file from events order by id")


def ids(lake: LakeCommand) -> list[str]:
    return [row["id"] for row in rows(lake)]


def test_run_says_what_it_does_on_stderr_and_what_came_of_it_on_stdout(lake: LakeCommand) -> None:
    done = lake("run")

    listed, began, ended = done.stderr.splitlines()
    assert listed == "events: 2 files listed, 2 new"
    assert began.startswith("events 2026-week07.0001: converting 2 files, ")
    assert ended.startswith("events 2026-week07.0001: done in ")
    header, line = done.stdout.splitlines()
    assert header.split()[:3] == ["dataset", "manifests", "run"]
    assert line.split()[:-1] == ["events", "1", "0", "0", "2", "0", "0", "0", "3", "0", "0"]


def test_verbose_shows_dagsters_log(lake: LakeCommand) -> None:
    assert "STEP_START" in lake("run", "--verbose").stderr


def test_running_again_changes_nothing(lake: LakeCommand) -> None:
    lake("run")
    before = (rows(lake), lake.json_lines("files"), lake.json("schema", "events"))

    lake("run")

    assert (rows(lake), lake.json_lines("files"), lake.json("schema", "events")) == before


def test_a_new_file_in_a_week_already_done_becomes_a_new_manifest(lake: LakeCommand) -> None:
    lake("run")
    lake.land("raw/2026/week07/c.json", event(4))

    lake("run", "events")

    assert {file["s3_key"][-6:]: file["manifest_id"] for file in lake.json_lines("files", "events")} == {
        "a.json": "2026-week07.0001",
        "b.json": "2026-week07.0001",
        "c.json": "2026-week07.0002",
    }
    assert ids(lake) == ["e1", "e2", "e3", "e4"]


def test_a_requeued_manifest_gives_the_same_rows_once(lake: LakeCommand) -> None:
    lake("run")
    before = rows(lake)

    assert lake.json("requeue", "events", "--manifest", "2026-week07.0001") == {"files": 2, "manifests": 1}
    assert lake.json("status")["events"]["PENDING"] == 2
    lake("run")

    assert rows(lake) == before
    assert lake.json("status")["events"]["SUCCEEDED"] == 2


def test_a_requeued_key_takes_its_manifest_along_and_says_so(lake: LakeCommand) -> None:
    lake("run")

    said = lake("requeue", "events", "--key", "raw/2026/week07/b.json").stdout

    assert said == "2 files back to PENDING, 1 manifest to be replayed. Next: lake run events\n"


def test_a_quarantined_file_is_tried_again_by_its_state(lake: LakeCommand) -> None:
    lake.land("raw/2026/week07/c.json", "\x89PNG")
    lake("run")
    assert lake.json("requeue", "events", "--status", "quarantined") == {"files": 1, "manifests": 0}

    lake("run")

    assert lake.json("status")["events"] == {
        **{"PENDING": 0, "PROCESSING": 0, "SUCCEEDED": 2},
        **{"FAILED": 0, "QUARANTINED": 1, "SUPERSEDED": 0},
    }


def test_a_manifest_that_fails_for_good_is_exit_1_and_says_why(tmp_path: Path, database_url: str) -> None:
    strict = EVENTS | {"schema": EVENTS["schema"] | {"mode": "strict"}, "batch": {"max_retries": 1}}
    lake = lake_command(tmp_path / "home", database_url, strict)
    lake.land("raw/2026/week07/a.json", event(1))
    lake("run")
    lake.land("raw/2026/week08/b.json", event(2, surprise=1))

    failed = lake("run", expect=1)

    assert "2026-week08.0001: attempt 1 failed: " in failed.stderr
    assert "2026-week08.0001: attempt 2 failed: " in failed.stderr
    assert "surprise" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1] == (
        "error: Not everything could be converted: 1 of events's files; lake files events --status FAILED says why"
    )
    assert "surprise" in lake("status", "events").stdout
    assert "surprise" in lake.json_lines("files", "--status", "FAILED")[0]["error_message"]
    assert ids(lake) == ["e1"]


def test_a_run_whose_manifest_cannot_be_begun_ends(lake: LakeCommand) -> None:
    lake("run")
    lake("requeue", "events", "--manifest", "2026-week07.0001")
    document = lake.home / "store/manifests/events/2026-week07.0001.json"
    document.unlink()
    (document / "in the way").mkdir(parents=True)

    assert lake("run", "events", expect=1).stderr.splitlines()[-1] == (
        "error: The engine did not finish the conversion: "
        "events 2026-week07.0001 cannot be begun; `lake dev` shows its run's log"
    )


def test_a_store_that_refuses_is_one_error(lake: LakeCommand) -> None:
    (lake.home / "store/manifests").write_text("in the way of every manifest's document")

    last = lake("run", expect=1).stderr.splitlines()[-1]

    assert last.startswith("error: The object store refused or failed: manifests/events/2026-week07.0001.json: ")


def test_ctrl_c_is_exit_130_and_the_next_run_goes_on(lake: LakeCommand) -> None:
    process = lake.start("run")
    assert process.stderr is not None
    while "converting" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130, errors
    assert "Traceback" not in errors

    lake("run")
    assert ids(lake) == ["e1", "e2", "e3"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LAKE_STORE": "s3://bucket/lake//raw"}, "no segment that is empty"),
        ({"LAKE_S3_ENCRYPTION": "rot13"}, "LAKE_S3_ENCRYPTION='rot13'"),
        ({"LAKE_S3_KMS_KEY_ID": "alias/lake"}, "a KMS key needs LAKE_S3_ENCRYPTION"),
        ({"LAKE_STORE": "gs://bucket"}, "the store is a directory or s3://bucket[/prefix]"),
        ({"LAKE_ENGINE": "flink"}, "LAKE_ENGINE='flink'"),
        ({"LAKE_ENGINE": "glue"}, "LAKE_ENGINE=glue needs LAKE_STORE=s3://bucket[/prefix]"),
        ({"LAKE_THREADS": "many"}, "LAKE_THREADS='many'"),
        ({"LAKE_MEMORY": "lots"}, "LAKE_MEMORY='lots'"),
        ({"LAKE_MEMORY": "1MB"}, "at least 64MiB"),
        ({"LAKE_STORE": "/dev/null/store"}, "/dev/null/store"),
        ({"LAKE_HOME": "/dev/null/home"}, "/dev/null/home"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_error_that_names_it(
    variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = LakeCommand(tmp_path, variables)("status", expect=1)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
