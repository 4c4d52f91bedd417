"""The declaration's values: sizes, durations, prefixes, partition keys; and its way to another process and back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, TypeAdapter, ValidationError

from lake_pipeline.dataset import Dataset
from lake_pipeline.notation import Duration, Prefix, Size
from lake_pipeline.output import Output, partition_keys

STRICT = ConfigDict(strict=True)  # as the declaration's models are
SIZE: TypeAdapter[int] = TypeAdapter(Size, config=STRICT)
DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration, config=STRICT)
PREFIX: TypeAdapter[str] = TypeAdapter(Prefix, config=STRICT)
UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def declared(**parts: Any) -> dict[str, Any]:
    return {"name": "trips", "source": {"prefix": "raw/"}, "output": {"prefix": "curated/"}} | parts


@given(st.integers(1, 2**53 + 1), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_sizes_are_exact(number: int, unit: str, space: str) -> None:
    assert SIZE.validate_python(f"{number}{space}{unit}") == number * UNITS[unit]
    assert SIZE.validate_python(f"{number}{space}{unit.lower()}") == number * UNITS[unit]


@pytest.mark.parametrize(("text", "size"), [("1.5GiB", 3 * 2**29), ("0.1 MB", 100_000), (4096, 4096)])
def test_fractions_and_plain_numbers_are_sizes(text: object, size: int) -> None:
    assert SIZE.validate_python(text) == size


@given(st.text(max_size=12))
def test_any_other_text_is_refused_as_a_size_and_as_a_duration(text: str) -> None:
    for adapter in (SIZE, DURATION):
        try:
            value = adapter.validate_python(text)
        except ValidationError:
            continue
        assert value is not None
        assert any(character.isdigit() for character in text)


@pytest.mark.parametrize(
    "value", ["", "GiB", "-1", "1 XiB", "1e3", "0", "0.1B", 0, -1, 1.5, True, None, [1], "4 GiB 1 MiB"]
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        SIZE.validate_python(value)


@given(st.integers(0, 10_000), st.sampled_from("smhd"))
def test_durations(number: int, unit: str) -> None:
    seconds = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert DURATION.validate_python(f"{number}{unit}") == timedelta(seconds=seconds)
    assert DURATION.validate_python(seconds) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "15", "15 minutes", "m", "-5m", -5, "9999999999d", 10**400, True, None, "1.5h"])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(value)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/", exclude_categories=["Cc", "Cs"]), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_a_prefix_ends_in_one_slash_and_stays_below_the_root(parts: list[str]) -> None:
    text = "/".join(parts)
    if {".", ".."} & set(parts):
        with pytest.raises(ValidationError):
            PREFIX.validate_python(text)
    else:
        assert PREFIX.validate_python(text) == PREFIX.validate_python(f"{text}/") == f"{text}/"


@pytest.mark.parametrize("text", ["", "/", "//", "/raw/", "raw//x/", "../raw/", "raw/../x/", "./raw/", None, 3])
def test_what_is_no_prefix_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        PREFIX.validate_python(text)


def test_partition_keys_are_named_after_the_part_or_the_column() -> None:
    assert partition_keys(["year(date)", "hour(ts)", "mode"]) == [
        ("year", "year", "date"),
        ("hour", "hour", "ts"),
        ("mode", None, "mode"),
    ]


@pytest.mark.parametrize("item", ["", "year(date", "date)", "week(date)", "year()", "year(month(date))", "()"])
def test_what_is_no_partition_key_is_refused(item: str) -> None:
    with pytest.raises(ValidationError, match="neither a column nor"):
        Output(prefix="x/", partition_by=[item])


def test_two_partition_keys_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="same name"):
        Output(prefix="x/", partition_by=["year(date)", "year(ts)"])


@pytest.mark.parametrize("rename", [{"a": "x", "b": "x"}, {"a": "x", "b": "X"}, {"a": ""}])
def test_new_names_that_cannot_be_told_apart_are_refused(rename: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="a name of its own"):
        Dataset.model_validate(declared(schema={"flatten": {"rename": rename}}))


@pytest.mark.parametrize("name", ["Events", "1st", "a-b", "a b", "", "a" * 64, "événements", "a;drop"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Dataset.model_validate(declared(name=name))


@pytest.mark.parametrize("owner", ["ada@example.org", "team:mobility", "team:data & maps"])
def test_owners_are_addresses_or_teams(owner: str) -> None:
    assert Dataset.model_validate(declared(owners=[owner])).owners == [owner]


def test_a_declaration_survives_the_way_to_another_process_as_json() -> None:
    dataset = Dataset.model_validate(
        declared(
            source={"prefix": "raw/", "format": "ndjson", "records": "a.b", "group": "{year}/{week}/"},
            batch={"max_files": 7, "max_bytes": "1.5GiB", "max_wait": "90s", "max_retries": 1},
            schema={"hints": {"ts": "timestamp"}, "flatten": {"rename": {"A": "b"}, "keep_json": ["c"]}},
            checks={"required": ["id"], "row_count": {"min": 2}},
            archive={"action": "move", "prefix": "done"},
        )
    )
    document = json.dumps(dataset.model_dump(mode="json", by_alias=True))
    assert Dataset.model_validate(json.loads(document)) == dataset
    assert Dataset.model_validate_json(document) == dataset
    assert Dataset.model_validate_json(dataset.model_dump_json(by_alias=True)) == dataset


def test_a_declaration_cannot_be_changed_and_has_no_field_that_nobody_declared() -> None:
    dataset = Dataset.model_validate(declared())
    with pytest.raises(ValidationError, match="frozen"):
        setattr(dataset, "name", "tours")  # noqa: B010 - a type checker would refuse the plain form
    with pytest.raises(ValidationError, match="Extra inputs"):
        Dataset.model_validate(declared(transforms={}))
