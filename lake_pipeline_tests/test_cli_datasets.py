"""`lake datasets`: what is declared, and whether it may be."""

from __future__ import annotations

import json
from pathlib import Path

from lake_pipeline_tests.command_line import LakeCommand

GOOD = """\
name: tides
source: {prefix: tides/}
output: {prefix: tide-table/}
"""
BAD = """\
name: Tides
source: {prefix: tides/, fromat: json}
output: {prefix: tide-table/}
"""


def test_the_bundled_declarations_are_shown(tmp_path: Path) -> None:
    lake = LakeCommand(tmp_path)

    header, *lines = lake("datasets").stdout.splitlines()

    assert header.startswith("dataset ")
    assert [line.split()[:2] for line in lines] == [
        ["events", "raw-json-data/"],
        ["events_small", "raw-json-small/"],
        ["ndjson_feed", "landing/ndjson/"],
        ["sensor_readings", "landing/sensor-readings/"],
        ["social_media", "social-media/"],
        ["yellow_tripdata", "raw-data/"],
    ]
    declared = lake.json("datasets")
    assert declared["events"]["source"]["prefix"] == "raw-json-data/"
    assert declared["events"]["schema"]["flatten"]["rename"] == {"DATE": "date", "MODE": "mode"}
    assert list(tmp_path.iterdir()) == [], "no Postgres and no store are needed for that"


def test_valid_declarations_are_exit_0(tmp_path: Path) -> None:
    file = tmp_path / "tides.yaml"
    file.write_text(GOOD)
    lake = LakeCommand(tmp_path / "home")

    assert lake("datasets", "validate", str(file)).stdout == f"{file}: tides: no problems\n"
    assert lake("datasets", "validate", str(tmp_path)).stdout == f"{tmp_path}: tides: no problems\n"


def test_every_problem_is_a_line_that_names_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "tides.yaml"
    file.write_text(BAD)
    lake = LakeCommand(tmp_path / "home")

    for path in (file, tmp_path):
        first, second = lake("datasets", "validate", str(path), expect=1).stdout.splitlines()
        assert first.startswith(f"{file}:1: name: ")
        assert second == f"{file}:2: source.fromat: no such field; did you mean format?"


def test_a_command_on_a_bad_declaration_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "tides.yaml").write_text(BAD)
    lake = LakeCommand(tmp_path / "home", {"LAKE_DATASETS": str(tmp_path)})

    first, second, third = lake("status", expect=1).stderr.replace("valid: ", "valid:\n").splitlines()

    assert first == "error: A dataset declaration is not valid:"
    assert second.startswith(f"{tmp_path}/tides.yaml:1: name: ")
    assert third.startswith(f"{tmp_path}/tides.yaml:2: source.fromat: ")


def test_a_path_that_is_not_there_is_exit_1(tmp_path: Path) -> None:
    assert "No such file" in LakeCommand(tmp_path)("datasets", "validate", str(tmp_path / "no.yaml"), expect=1).stdout


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    refused = LakeCommand(tmp_path, {"LAKE_STORE": "ftp://x"})("datasets", expect=1)

    assert refused.stderr.startswith("error: A setting has a value that cannot be used: LAKE_STORE='ftp://x'")


def test_editors_get_a_json_schema(tmp_path: Path) -> None:
    document = json.loads(LakeCommand(tmp_path)("datasets", "json-schema").stdout)

    assert document["properties"]["source"]
    assert document["additionalProperties"] is False
