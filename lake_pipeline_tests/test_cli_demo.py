"""`lake demo`: on nothing but the package, twice, and where something is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline_tests.command_line import LakeCommand


def test_the_demo_shows_every_sample_file_and_an_answer_and_may_be_repeated(short_dir: Path) -> None:
    lake = LakeCommand(short_dir / "home")

    first = lake("demo").stdout
    manifests = [file["manifest_id"] for file in lake.json_lines("files")]
    again = lake("demo")

    fates, answer, following = first.split("\n\n")
    assert len(fates.splitlines()) == 1 + 4 + 6 + 13 + 17 + 8 + 5
    assert "the file is empty" in fates
    assert "a line that is not JSON" in fates
    assert answer.splitlines()[0] == "select mode, count(*) as events from events group by 1 order by 1"
    counts = {line.split()[0]: int(line.split()[1]) for line in answer.splitlines()[2:]}
    assert list(counts) == ["bike", "bus", "car", "train", "walk"]
    assert sum(counts.values()) == 8 * 1200 + 1
    assert "lake dev" in following
    assert "0 sample files landed under" in again.stderr
    assert "13 had landed before" in again.stderr
    assert "converting" not in again.stderr
    assert again.stdout == first
    assert [file["manifest_id"] for file in lake.json_lines("files")] == manifests
    assert lake("audit").stdout.startswith("no difference: ")
    assert {finding["state"] for finding in lake.json("doctor")["findings"]} == {"ok"}
    assert not (short_dir / "home" / "postgres" / "postmaster.pid").exists(), "the embedded Postgres has stopped"


def test_a_sample_that_does_not_end_as_it_should_is_exit_1(tmp_path: Path, database_url: str) -> None:
    folder = tmp_path / "datasets"
    folder.mkdir()
    shutil.copy(BUNDLED_DATASETS / "sensor_readings.yaml", folder)
    lake = LakeCommand(tmp_path / "home", {"LAKE_DATASETS": str(folder), "LAKE_DATABASE_URL": database_url})
    lake.land("landing/sensor-readings/2026-01-31/north.ndjson", {"sensor_id": "mine"})

    failed = lake("demo", expect=1)

    assert failed.stderr.splitlines()[-1] == (
        "error: The demo did not end as its samples say: "
        "landing/sensor-readings/2026-01-31/north.ndjson has rows_written 1, not 400"
    )
    assert lake.json_lines("query", "select count(*) as n from sensor_readings where sensor_id = 'mine'") == [{"n": 1}]


def test_a_lake_without_bundled_datasets_has_no_demo(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "tides.yaml").write_text("name: tides\nsource: {prefix: tides/}\noutput: {prefix: tide-table/}\n")
    lake = LakeCommand(tmp_path / "home", {"LAKE_DATASETS": str(tmp_path), "LAKE_DATABASE_URL": database_url})

    assert "unset LAKE_DATASETS" in lake("demo", expect=1).stderr
