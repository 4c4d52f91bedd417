"""Declarations: what a person who edits YAML is told, with the file, the line and the field."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from lake_pipeline.dataset import Dataset
from lake_pipeline.declarations import load_dataset, load_datasets, schema_json
from lake_pipeline.errors import DeclarationError
from lake_pipeline.settings import BUNDLED_DATASETS

MINIMAL = """\
name: trips
source: {prefix: raw/trips/}
output: {prefix: curated/trips/}
"""

LINES: dict[str, object] = {"format": "json", "files": "one_to_one"}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    """The lines of the error that loading a file, or a directory, gives; without the path."""
    with pytest.raises(DeclarationError) as caught:
        load_datasets(path) if path.is_dir() else load_dataset(path)
    return [line.removeprefix(f"{path}").lstrip("/") for line in caught.value.detail.splitlines()]


def test_the_bundled_declarations_load_and_say_what_their_owners_meant() -> None:
    datasets = load_datasets(BUNDLED_DATASETS)
    assert list(datasets) == [
        "events",
        "events_small",
        "ndjson_feed",
        "sensor_readings",
        "social_media",
        "yellow_tripdata",
    ]
    events = datasets["events"]
    assert events.source.prefix == "raw-json-data/"
    assert events.source.group_template.group_of("2026/week07/drop-1.json") == "2026/week07"
    assert events.source.group_template.group_of("all_historical_files/a.json") == "historical"
    assert events.batch.max_bytes == 4 * 2**30
    assert events.batch.max_wait == timedelta(minutes=15)
    assert events.schema_.hints["ts"] == "timestamp"
    assert events.schema_.flatten.rename == {"DATE": "date", "MODE": "mode"}
    assert events.output.partition_by == ["year(date)", "month(date)", "day(date)", "mode"]
    assert events.archive.action == "move"
    assert datasets["sensor_readings"].archive.action == "keep"


def test_a_minimal_declaration_has_defaults_for_the_rest(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path / "trips.yaml", MINIMAL))
    assert dataset == Dataset.model_validate(
        {"name": "trips", "source": {"prefix": "raw/trips"}, "output": {"prefix": "curated/trips"}}
    )


def test_text_that_looks_like_a_date_is_text(tmp_path: Path) -> None:
    assert load_dataset(write(tmp_path / "trips.yaml", MINIMAL + "description: 2026-02-30")).description == "2026-02-30"


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "trips.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_dataset(path).name == "trips"


def test_every_problem_of_a_file_is_named_with_its_line_and_field(tmp_path: Path) -> None:
    path = write(
        tmp_path / "events.yaml",
        """\
        name: Events
        # a comment does not shift lines
        source:
          prefix: /raw/
          format: xml
          gruop: "{year}/"
        batch:
          max_bytes: 4 parsecs
          max_files: yes
          max_wait: -5
        schema:
          mode: evolv
          hints: {ts: date}
        output:
          partition_by:
            - year(date)
            - week(date)
          colour: blue
        """,
    )
    found = problems(path)
    assert sorted(line.split(": ")[0] for line in found) == sorted(
        [":1", ":4", ":5", ":6", ":8", ":9", ":10", ":12", ":13", ":14", ":15", ":18"]
    )
    for expected in (
        ":1: name: a name is lower-case letters, digits and underscores, and starts with a letter",
        ":4: source.prefix: '/raw/' is not a prefix below the store's root, such as raw-json-data/",
        ":5: source.format: Input should be 'json', 'ndjson' or 'parquet'",
        ":6: source.gruop: no such field; did you mean group?",
        ":9: batch.max_files: Input should be a valid integer",
        ":10: batch.max_wait: Input should be greater than or equal to 0 seconds",
        ":12: schema.mode: Input should be 'evolve', 'rescue', 'strict' or 'strings'",
        ":14: output.prefix: the field is missing",
        ":15: output.partition_by: 'week(date)' is neither a column nor year(c), month(c), day(c) or hour(c)",
        ":18: output.colour: no such field; the fields here are format, files, prefix, partition_by, compression,"
        " projection",
    ):
        assert expected in found


def test_the_message_begins_with_what_is_wrong_and_the_path(tmp_path: Path) -> None:
    path = write(tmp_path / "events.yaml", MINIMAL.replace("prefix: raw/trips/", "format: ndjson"))
    with pytest.raises(DeclarationError) as caught:
        load_dataset(path)
    assert str(caught.value) == f"A dataset declaration is not valid: {path}:2: source.prefix: the field is missing"


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("schemas: {}", ":4: schemas: no such field; did you mean schema?"),
        ("schema: {flatten: {renames: {}}}", ":4: schema.flatten.renames: no such field; did you mean rename?"),
        ("checks: {row_count: {mni: 1}}", ":4: checks.row_count.mni: no such field; did you mean min?"),
        ("owners: [somebody]", ":4: owners: 'somebody' is neither an e-mail address nor team:name"),
        ("owners: [1]", ":4: owners[0]: Input should be a valid string"),
        ("archive: {action: move}", ":4: archive: archive.action is move, so archive.prefix must say where to"),
        ("description: 3", ":4: description: Input should be a valid string"),
        ("owners: &o [*o]", ":4: owners[0]: Input should be a valid string"),
    ],
)
def test_a_problem_in_one_field(extra: str, line: str, tmp_path: Path) -> None:
    assert problems(write(tmp_path / "trips.yaml", MINIMAL + extra)) == [line]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "the file is empty"),
        ("# only a comment\n", 1, "the file is empty"),
        ("- name: events\n", 1, "a declaration is a mapping"),
        ("\nevents\n", 2, "a declaration is a mapping"),
        (
            "name: events\nsource: [\noutput: x\n",
            4,
            "not valid YAML: expected ',' or ']', but got '<stream end>', while parsing a flow sequence",
        ),
        ("name: events\n\tsource: x\n", 2, "not valid YAML"),
        ("name: events\nsource: {prefix: 'raw}\n", 3, "not valid YAML"),
        ("name: a\n---\nname: b\n", 2, "not valid YAML"),
        ("name: *nobody\n", 1, "not valid YAML"),
        ("name: events\nbatch: !!int many\n", 1, "not valid YAML: invalid literal for int"),
        ("name: events\n? [a]\n: b\n", 2, "not valid YAML"),
        ("name: x\nbell: \a\n", 2, "not valid YAML"),
        ("a: " + "[" * 5000, 1, "not valid YAML"),
    ],
)
def test_a_file_that_holds_no_declaration(text: str, line: int, reason: str, tmp_path: Path) -> None:
    found = problems(write(tmp_path / "events.yaml", text))
    assert len(found) == 1
    assert found[0].startswith(f":{line}: {reason}")


def test_yaml_that_would_run_code_is_refused(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    path = write(
        tmp_path / "events.yaml", f"name: x\nsource: !!python/object/apply:pathlib.Path.touch ['{evidence}']\n"
    )
    assert problems(path)[0].startswith(":2: not valid YAML: could not determine a constructor")
    assert not evidence.exists()


def test_a_key_that_is_there_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path / "trips.yaml",
        """\
        name: trips
        source:
          prefix: raw/trips/
          format: json
          format: ndjson
        output: {prefix: curated/trips/, prefix: elsewhere/}
        name: tours
        """,
    )
    assert problems(path) == [
        ":5: source.format: the key is there twice, first on line 4",
        ":6: output.prefix: the key is there twice, first on line 6",
        ":7: name: the key is there twice, first on line 1",
    ]


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "trips.yaml"
    path.write_bytes(MINIMAL.encode() + "description: Zürich\n".encode("latin-1"))
    assert problems(path) == [":4: not UTF-8 text"]


def test_a_file_or_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"nothing\.yaml: No such file or directory"):
        load_dataset(tmp_path / "nothing.yaml")
    with pytest.raises(DeclarationError, match="nothing is not a directory"):
        load_datasets(tmp_path / "nothing")
    with pytest.raises(DeclarationError, match=r"holds no \*\.yaml file"):
        load_datasets(tmp_path)


def test_a_directory_is_read_whole_and_its_problems_come_together(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", "name: x\n")
    write(tmp_path / "a.yml", MINIMAL)
    write(tmp_path / "c.yaml", "[")
    write(tmp_path / "README.md", "not a declaration")
    assert problems(tmp_path) == [
        "b.yaml:1: source: the field is missing",
        "b.yaml:1: output: the field is missing",
        "c.yaml:1: not valid YAML: expected the node content, but found '<stream end>'",
    ]


def test_datasets_are_sorted_by_name_whatever_their_files_are_called(tmp_path: Path) -> None:
    for file, name in (("1", "zebra"), ("2", "apple"), ("3", "mango")):
        write(tmp_path / f"{file}.yaml", MINIMAL.replace("trips", name))
    assert list(load_datasets(tmp_path)) == ["apple", "mango", "zebra"]


def test_two_datasets_whose_manifests_would_have_one_name_are_refused(tmp_path: Path) -> None:
    batch = 'batch: {manifests: "{group}/batch-{sequence}.json"}\n'
    write(tmp_path / "a.yaml", MINIMAL + batch)
    write(tmp_path / "b.yaml", MINIMAL.replace("trips", "tours") + batch)
    (problem,) = problems(tmp_path)
    assert problem.endswith("batch.manifests: {group}/batch-{sequence}.json names the manifests of trips too")


@pytest.mark.parametrize(
    "name",
    [
        "batch.json",
        "{group}.json",
        "{sequence}.json",
        "{group}{sequence}.json",
        "{group}/9{sequence}.json",
        "{group}/{sequence}{dataset}.json",
        "{group}/{sequence}{group}.json",
        "{date}/{group}-{sequence}.json",
        "/{group}-{sequence}.json",
        "../{group}-{sequence}.json",
        "a//{group}-{sequence}.json",
        "{group}-{sequence}",
    ],
)
def test_a_name_that_several_manifests_could_have_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.yaml", MINIMAL + f"batch: {{manifests: '{name}'}}\n")
    (problem,) = problems(tmp_path)
    assert "batch.manifests: it must be a name such as {group}/batch-{sequence}.json" in problem


def test_two_datasets_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", MINIMAL)
    write(tmp_path / "b.yaml", MINIMAL.replace("/trips", "/tours"))
    assert problems(tmp_path) == [f"b.yaml:1: name: trips is declared by {tmp_path / 'a.yaml'} too"]


@pytest.mark.parametrize(
    ("source", "output", "archive", "line"),
    [
        ("raw/trips/more/", "x/", "y/", "b.yaml:2: source.prefix: raw/trips/more/ overlaps raw/trips/, the source"),
        ("raw/", "x/", "y/", "b.yaml:2: source.prefix: raw/ overlaps raw/trips/, the source prefix of trips"),
        ("x/", "curated/trips/", "y/", "b.yaml:3: output.prefix: curated/trips/ overlaps curated/trips/, the output"),
        ("x/", "raw/trips/y/", "z/", "b.yaml:3: output.prefix: raw/trips/y/ overlaps raw/trips/, the source"),
        ("curated/trips/", "x/", "y/", "b.yaml:2: source.prefix: curated/trips/ overlaps curated/trips/, the output"),
        ("x/", "y/", "raw/trips/done/", "b.yaml:4: archive.prefix: raw/trips/done/ overlaps raw/trips/, the source"),
        ("x/", "y/", "x/done/", "b.yaml:4: archive.prefix: x/done/ overlaps x/, the source prefix of tours"),
        ("x/new/", "y/", "x/", "b.yaml:4: archive.prefix: x/ overlaps x/new/, the source prefix of tours"),
        ("_staging/x/", "y/", "z/", "b.yaml:2: source.prefix: _staging/x/ is kept for the lake itself"),
        ("x/", "y/", "quarantine/", "b.yaml:4: archive.prefix: quarantine/ is kept for the lake itself"),
    ],
)
def test_prefixes_inside_one_another_are_refused(
    source: str, output: str, archive: str, line: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.yaml", MINIMAL)
    text = f"""\
        name: tours
        source: {{prefix: {source}}}
        output: {{prefix: {output}}}
        archive: {{action: move, prefix: {archive}}}
        """
    write(tmp_path / "b.yaml", text)
    found = problems(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out/{day}/", "output.prefix: {day} is no placeholder of source.group"),
        ("{date}/out/", "output.prefix: it must begin with a text of its own"),
        ("out/{date/", "has a brace that is not part of a {placeholder}"),
        ("raw/{date}/", "overlaps raw/trips/, the source prefix of trips"),
        ("manifest{date}/", "is kept for the lake itself"),
    ],
)
def test_an_output_prefix_with_placeholders_is_held_to_what_it_may_become(
    output: str, message: str, tmp_path: Path
) -> None:
    text = f"name: trips\nsource: {{prefix: raw/trips/, group: '{{date}}/'}}\noutput: {{prefix: '{output}'}}\n"
    (found,) = problems(write(tmp_path / "trips.yaml", text))
    assert message in found


def test_prefixes_with_a_common_beginning_are_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", MINIMAL)
    write(tmp_path / "b.yaml", MINIMAL.replace("trips", "trips2"))
    assert list(load_datasets(tmp_path)) == ["trips", "trips2"]


def test_one_file_alone_is_held_to_its_own_prefixes(tmp_path: Path) -> None:
    path = write(tmp_path / "trips.yaml", MINIMAL.replace("curated/trips/", "raw/trips/parquet/"))
    assert problems(path) == [
        ":3: output.prefix: raw/trips/parquet/ overlaps raw/trips/, the source prefix of trips",
    ]


def test_anchors_merge_keys_and_their_lines_work(tmp_path: Path) -> None:
    path = write(
        tmp_path / "trips.yaml",
        """\
        name: trips
        source: {prefix: raw/trips/}
        output: {prefix: curated/trips/, partition_by: &day [year(ts), month(ts)]}
        checks: {required: *day}
        """,
    )
    assert load_dataset(path).checks.required == ["year(ts)", "month(ts)"]


def test_the_json_schema_tells_an_editor_the_names_and_accepts_sizes_as_text() -> None:
    schema = schema_json()
    json.dumps(schema)
    assert set(schema["required"]) == {"name", "source", "output"}
    assert "schema" in schema["properties"]
    assert schema["additionalProperties"] is False
    batch = schema["$defs"]["Batch"]["properties"]
    for field in ("max_bytes", "max_wait"):
        assert {"type": "string"} in batch[field]["anyOf"]
    assert schema["$defs"]["Source"]["properties"]["prefix"]["description"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"source": {"records": "features"}}, "source: records is of JSON documents, and format is parquet"),
        (
            {"source": {"format": "ndjson", "expect": {"min_bytes": "1KiB"}}},
            "source: expect is of Parquet files, and format is ndjson",
        ),
        ({"source": {"expect": {"min_bytes": 9, "max_bytes": 8}}}, "source.expect: max_bytes is less than min_bytes"),
        (
            {"schema": {"mode": "strings"}},
            "schema.mode: strings keeps how JSON is written, and source.format is parquet",
        ),
        ({"transform": {"utc": ["ts"]}}, "transform.utc: it reads notations of JSON, and source.format is parquet"),
        (
            {"schema": {"flatten": {"explode": "items"}}},
            "schema.flatten.explode: it cuts JSON records, and source.format is parquet",
        ),
        ({"output": {"format": "json"}}, "output: format is json and files is merged: JSON lines are written one file"),
        ({"output": {"files": "one_to_one"}}, "output: format is parquet and files is one_to_one"),
        ({"output": LINES | {"partition_by": ["a"]}}, "output: partition_by divides a file's rows"),
        ({"source": {"format": "json"}, "output": LINES}, "output.files: one_to_one needs source.format parquet"),
        (
            {"output": LINES, "transform": {"deduplicate": {"keys": ["id"], "keep": "latest", "by": "ts"}}},
            "transform.deduplicate: it looks across files",
        ),
        (
            {
                "output": LINES,
                "retention": {"file_records": "30d"},
                "archive": {"action": "move", "prefix": "done/"},
            },
            "retention.file_records: a forgotten file that lands again would replace another manifest's output",
        ),
    ],
)
def test_what_parquet_and_one_to_one_cannot_have_is_refused_with_the_field(
    tmp_path: Path, fields: dict[str, dict[str, object]], problem: str
) -> None:
    declared: dict[str, object] = {
        "name": "trips",
        "source": {"prefix": "raw/", "format": "parquet"} | fields.pop("source", {}),
        "output": {"prefix": "curated/"} | fields.pop("output", {}),
    }
    (found,) = problems(write(tmp_path / "trips.yaml", yaml.safe_dump(declared | fields)))
    assert problem in found
