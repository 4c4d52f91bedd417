"""One trap of Parquet a test: the value arrives, or is rescued, or its file is quarantined with the reason."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import SchemaConflict
from lake_pipeline.evolution import infer
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.kernel.json_reading import read_sql
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.results import Results
from lake_pipeline.schemas import Schema, type_name
from lake_pipeline_tests.kernel_oracle import land

ONE_TO_ONE = {"format": "json", "files": "one_to_one"}


def parquet(columns: Mapping[str, Any] | pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(dict(columns)), file, **options)
    return file.getvalue()


class Done:
    """A conversion, and its rows as pyarrow reads Parquet, Python's json reads lines, and DuckDB reads lines back."""

    def __init__(self, results: Results, staging: Path) -> None:
        self.results = results
        self.types = {column.name: type_name(column.type) for column in results.schema.columns}
        paths = [staging / "data" / output.path for output in results.outputs]
        self.text = "".join(path.read_text() for path in paths if path.suffix == ".json")
        self.lines = [json.loads(line, parse_float=Decimal) for line in self.text.split("\n")[:-1]]
        self.rows = [row for path in paths if path.suffix == ".parquet" for row in pq.read_table(path).to_pylist()]
        self.paths = [str(path) for path in paths]

    def values(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]

    def rescued(self) -> list[dict[str, Any]]:
        return [json.loads(row["_rescued"]) for row in self.rows if row["_rescued"] is not None]

    def read_back(self) -> list[dict[str, Any]]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            sources = dict.fromkeys(self.paths, "raw/x")
            cursor = connection.execute(read_sql(self.results.schema.columns, sources))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def reason(self) -> str:
        (file,) = self.results.files
        assert file.status == "QUARANTINED"
        return file.error_message or ""


def convert_files(tmp_path: Path, *files: bytes, schema: Schema | None = None, number: int = 0, **parts: Any) -> Done:
    names = {f"{index}.parquet": data for index, data in enumerate(files)}
    store, manifest = land(tmp_path / f"lake{number}", names)
    declared = Dataset.model_validate(
        {
            "name": "things",
            "source": {"prefix": "raw/", "format": "parquet"} | parts.get("source", {}),
            "output": {"prefix": "curated/"} | parts.get("output", {}),
            "schema": parts.get("schema_rules", {}),
        }
    )
    staging = tmp_path / f"staging{number}"
    job = Job(declared, manifest, schema or Schema(), 1, staging, tmp_path / f"scratch{number}", 2, "256MiB")
    return Done(convert(job, store), staging)


def both(tmp_path: Path, columns: Mapping[str, Any] | pa.Table) -> tuple[Done, Done]:
    """The same file as Parquet and as JSON lines."""
    data = parquet(columns)
    return convert_files(tmp_path, data), convert_files(tmp_path, data, number=1, output=ONE_TO_ONE)


# ---- types


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        *(
            (getattr(pa, f"int{bits}")(), [-(2 ** (bits - 1)), 0, 2 ** (bits - 1) - 1, None])
            for bits in (8, 16, 32, 64)
        ),
        *((getattr(pa, f"uint{bits}")(), [0, 2**bits - 1]) for bits in (8, 16, 32)),
    ],
    ids=str,
)
def test_every_integer_of_parquet_is_exact(tmp_path: Path, type_: pa.DataType, values: list[int | None]) -> None:
    as_parquet, as_lines = both(tmp_path, {"n": pa.array(values, type_)})
    assert as_parquet.types == {"n": "bigint"}
    assert as_parquet.values("n") == values
    assert [line["n"] for line in as_lines.lines] == values
    assert [row["n"] for row in as_lines.read_back()] == values


def test_an_unsigned_integer_beyond_64_bits_with_sign_is_rescued(tmp_path: Path) -> None:
    as_parquet, as_lines = both(tmp_path, {"n": pa.array([2**63 - 1, 2**63, 2**64 - 1], pa.uint64())})
    assert as_parquet.values("n") == [2**63 - 1, None, None]
    assert as_parquet.rescued() == [{"n": 2**63}, {"n": 2**64 - 1}]
    assert [line.get("_rescued") for line in as_lines.lines] == [None, f'{{"n":{2**63}}}', f'{{"n":{2**64 - 1}}}']


def test_decimals_are_exact_numbers_in_json_and_come_back_exact(tmp_path: Path) -> None:
    wide = ["12345678901234567890.123456789012345678", "-0.000000000000000001", None, "99999999999999999999.9"]
    values = [None if text is None else Decimal(text) for text in wide]
    fractions = [Decimal("0.25"), Decimal("-0.05"), Decimal("0.00"), None]
    columns = {"d": pa.array(values, pa.decimal128(38, 18)), "f": pa.array(fractions, pa.decimal128(2, 2))}
    as_parquet, as_lines = both(tmp_path, columns)
    assert as_parquet.types == {"d": "decimal(38, 18)", "f": "decimal(2, 2)"}
    assert as_parquet.values("d") == values
    assert [line["d"] for line in as_lines.lines] == values
    assert [line["f"] for line in as_lines.lines] == fractions
    assert [(row["d"], row["f"]) for row in as_lines.read_back()] == list(zip(values, fractions, strict=True))


def test_decimals_of_several_widths_make_one_that_holds_them_all(tmp_path: Path) -> None:
    narrow = parquet({"d": pa.array([Decimal("1.25")], pa.decimal128(5, 2))})
    fine = parquet({"d": pa.array([Decimal("0.0001")], pa.decimal128(6, 4))})
    whole = parquet({"d": pa.array([7], pa.int32())})
    done = convert_files(tmp_path, narrow, fine, whole)
    assert done.types == {"d": "decimal(23, 4)"}
    assert sorted(done.values("d")) == [Decimal("0.0001"), Decimal("1.25"), Decimal(7)]
    later = parquet({"d": pa.array([Decimal("0.00001"), Decimal("2.50000")], pa.decimal128(9, 5))})
    known = convert_files(tmp_path, later, schema=done.results.schema, number=1)
    assert known.values("d") == [None, Decimal("2.5")]
    assert known.rescued() == [{"d": 0.00001}]


def test_decimals_that_no_38_digits_hold_are_json_text() -> None:
    assert infer(Node(examples={"decimal(38, 0)": "a", "decimal(38, 38)": "b"})) == "json"


def test_floats_keep_every_bit_and_what_json_has_no_number_for_is_a_string(tmp_path: Path) -> None:
    values = [
        0.1,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        1e-7,
        123456789012345680.0,
        math.inf,
        -math.inf,
        math.nan,
        None,
    ]
    as_parquet, as_lines = both(tmp_path, {"f": values, "h": pa.array([1.5] * 10, pa.float32())})
    assert list(map(repr, as_parquet.values("f"))) == list(map(repr, values))
    found = [line["f"] for line in as_lines.lines]
    assert [repr(float(value)) for value in found[:6]] == list(map(repr, values[:6]))
    assert found[6:] == ["Infinity", "-Infinity", "NaN", None]
    assert [repr(row["f"]) for row in as_lines.read_back()] == list(map(repr, values))
    assert as_parquet.types["h"] == "double"


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Vienna", "+05:30"])
def test_timestamps_of_every_unit_and_zone_are_utc(tmp_path: Path, unit: str, scale: int, zone: str | None) -> None:
    stored = pa.array([1_700_000_000 * scale, -1 * scale, None], pa.int64()).cast(pa.timestamp(unit, zone))
    moments = [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), None]
    as_parquet, as_lines = both(tmp_path, {"t": stored})
    assert as_parquet.types == {"t": "timestamp"}
    assert as_parquet.values("t") == moments
    assert [line["t"] for line in as_lines.lines] == ["2023-11-14T22:13:20Z", "1969-12-31T23:59:59Z", None]
    assert [row["t"] for row in as_lines.read_back()] == moments


def test_a_fraction_of_a_second_has_six_digits_in_json(tmp_path: Path) -> None:
    columns = {"t": pa.array([1, 500_000], pa.timestamp("us")), "c": pa.array([1, 10**6], pa.time64("us"))}
    _, as_lines = both(tmp_path, columns)
    assert [line["t"] for line in as_lines.lines] == ["1970-01-01T00:00:00.000001Z", "1970-01-01T00:00:00.500000Z"]
    assert [line["c"] for line in as_lines.lines] == ["00:00:00.000001", "00:00:01"]


def test_nanoseconds_that_would_be_cut_are_rescued(tmp_path: Path) -> None:
    done = convert_files(
        tmp_path,
        parquet({"t": pa.array([1000, 1001], pa.timestamp("ns")), "c": pa.array([1000, 1001], pa.time64("ns"))}),
    )
    assert done.values("t") == [datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), None]
    assert done.rescued() == [{"t": "1970-01-01T00:00:00.000001001Z", "c": "00:00:00.000001001"}]


def test_moments_outside_of_the_calendar_are_rescued_as_their_number(tmp_path: Path) -> None:
    beyond, before = 253402300800, -62135596801  # the years 10000 and 0
    columns = {
        "t": pa.array([beyond, before, beyond - 1], pa.timestamp("s")),
        "d": pa.array([2932897, -719163, 2932896], pa.int32()).cast(pa.date32()),
    }
    as_parquet, as_lines = both(tmp_path, columns)
    assert as_parquet.values("t") == [None, None, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    assert as_parquet.values("d") == [None, None, date(9999, 12, 31)]
    assert as_parquet.rescued() == [{"t": beyond * 1000, "d": 2932897}, {"t": before * 1000, "d": -719163}]
    assert as_lines.lines[2]["d"] == "9999-12-31"


def test_int96_timestamps_are_exact_also_where_nanoseconds_run_over(tmp_path: Path) -> None:
    moments = [datetime(1, 1, 1), datetime(2026, 2, 3, 4, 5, 6, 7), datetime(9999, 12, 31), None]  # noqa: DTZ001
    table = pa.table({"n": [1, 2, 3, 4], "t": pa.array(moments, pa.timestamp("us"))})
    done = convert_files(tmp_path, parquet(table, use_deprecated_int96_timestamps=True))
    assert done.values("t") == [moment and moment.replace(tzinfo=UTC) for moment in moments]
    assert done.rescued() == []


def test_int96_nanoseconds_that_would_be_cut_are_rescued(tmp_path: Path) -> None:
    table = pa.table({"t": pa.array([1000, 1001], pa.timestamp("ns"))})
    done = convert_files(tmp_path, parquet(table, use_deprecated_int96_timestamps=True))
    assert done.values("t") == [datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), None]
    assert done.rescued() == [{"t": "1970-01-01T00:00:00.000001001Z"}]


def test_dates_times_booleans_and_binary_have_types_of_their_own(tmp_path: Path) -> None:
    columns = {
        "d": [date(1, 1, 1), date(2026, 2, 28)],
        "c": pa.array([time(23, 59, 59, 999999), None], pa.time64("us")),
        "b": [True, None],
        "x": [b"\x00\xff", b""],
        "u": pa.array([b"0123456789abcdef", None], pa.binary(16)),
    }
    as_parquet, as_lines = both(tmp_path, columns)
    assert as_parquet.types == {"d": "date", "c": "time", "b": "boolean", "x": "binary", "u": "binary"}
    wanted = [
        {"d": date(1, 1, 1), "c": time(23, 59, 59, 999999), "b": True, "x": b"\x00\xff", "u": b"0123456789abcdef"},
        {"d": date(2026, 2, 28), "c": None, "b": None, "x": b"", "u": None},
    ]
    own = {"_source_file", "_rescued"}
    assert [{name: row[name] for name in row if name not in own} for row in as_parquet.rows] == wanted
    assert [{name: row[name] for name in row if name not in own} for row in as_lines.read_back()] == wanted
    assert as_lines.lines[0] == {
        "d": "0001-01-01",
        "c": "23:59:59.999999",
        "b": True,
        "x": "AP8=",
        "u": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }


def test_text_arrives_whatever_is_in_it_and_dictionaries_are_text(tmp_path: Path) -> None:
    texts = ["", 'a"b\\c', "line\nfeed\r\u2028", "nul\0", "🚲 größer", "{}", "null", '{"n":1}', None]
    columns = {"s": texts, "k": pa.array(texts).dictionary_encode(), "l": pa.array(texts, pa.large_string())}
    as_parquet, as_lines = both(tmp_path, columns)
    for name in columns:
        assert as_parquet.values(name) == texts
        assert [line[name] for line in as_lines.lines] == texts
        assert [row[name] for row in as_lines.read_back()] == texts


def test_text_that_is_not_utf8_is_rescued_with_its_bytes(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"]).buffers())
    done = convert_files(tmp_path, parquet({"s": broken}))
    assert done.values("s") == ["ok", None]
    assert done.rescued() == [{"s": {"base64": "//4="}}]


def test_lists_and_objects_flatten_and_deeper_ones_and_maps_are_json_text(tmp_path: Path) -> None:
    deep = {"a": {"b": {"c": {"d": 1}}}, "x": 1.5}
    columns = {
        "o": [deep, None],
        "l": pa.array([[1, None], []], pa.list_(pa.int16())),
        "s": [[{"t": datetime(2026, 1, 1), "d": Decimal("1.5"), "b": b"\x01"}], None],  # noqa: DTZ001
        "m": pa.array([[("k", 1), ("k", 2)], []], pa.map_(pa.string(), pa.int8())),
    }
    as_parquet, as_lines = both(tmp_path, columns)
    assert as_parquet.types == {
        "o_a_b_c": "json",
        "o_x": "double",
        "l": "list<bigint>",
        "s": "list<struct<t: timestamp, d: decimal(2, 1), b: binary>>",
        "m": "json",
    }
    assert as_parquet.values("o_a_b_c") == ['{"d":1}', None]
    assert as_parquet.values("m") == ['[{"key":"k","value":1},{"key":"k","value":2}]', "[]"]
    legs = [[{"t": datetime(2026, 1, 1, tzinfo=UTC), "d": Decimal("1.5"), "b": b"\x01"}], None]
    assert as_parquet.values("s") == legs
    assert as_lines.lines[0]["s"] == [{"t": "2026-01-01T00:00:00Z", "d": Decimal("1.5"), "b": "AQ=="}]
    assert as_lines.lines[0]["o_a_b_c"] == '{"d":1}'
    back = as_lines.read_back()
    assert [row["s"] for row in back] == legs
    assert [row["l"] for row in back] == [[1, None], []]
    assert [row["m"] for row in back] == as_parquet.values("m")


def test_a_column_of_nulls_alone_makes_no_column_without_a_hint(tmp_path: Path) -> None:
    data = parquet({"n": [1], "fee": pa.nulls(1)})
    assert convert_files(tmp_path, data).types == {"n": "bigint"}
    hinted = convert_files(tmp_path, data, schema_rules={"hints": {"fee": "double"}}, number=1)
    assert hinted.types == {"n": "bigint", "fee": "double"}
    assert hinted.rows[0]["fee"] is None


def test_json_lines_have_every_column_and_rescued_values_only_where_there_are_any(tmp_path: Path) -> None:
    done = convert_files(
        tmp_path, parquet({"n": pa.array([1, 2**64 - 1], pa.uint64()), "": ["x", None]}), output=ONE_TO_ONE
    )
    assert done.lines == [{"n": 1, "_": "x"}, {"n": None, "_": None, "_rescued": f'{{"n":{2**64 - 1}}}'}]


# ---- schemas


def test_integers_and_floats_of_parquet_make_a_double_and_what_it_cannot_hold_is_rescued(tmp_path: Path) -> None:
    done = convert_files(tmp_path, parquet({"n": [1, 2**53 + 1]}), parquet({"n": [0.5]}))
    assert done.types == {"n": "double"}
    assert sorted(value for value in done.values("n") if value is not None) == [0.5, 1.0]
    assert done.rescued() == [{"n": 2**53 + 1}]


def test_a_known_column_keeps_its_type_and_a_column_that_does_not_fit_is_rescued(tmp_path: Path) -> None:
    first = convert_files(tmp_path, parquet({"n": [1], "s": ["a"]})).results.schema
    done = convert_files(
        tmp_path, parquet({"n": [1.0, None], "s": [1, 2], "new": [True, False]}), schema=first, number=1
    )
    assert done.types == {"n": "bigint", "s": "string", "new": "boolean"}
    assert done.rescued() == [{"n": 1.0, "s": 1}, {"s": 2}]


def test_mode_rescue_puts_new_parquet_columns_under_their_paths(tmp_path: Path) -> None:
    rules = {"mode": "rescue"}
    first = convert_files(tmp_path, parquet({"n": [1], "o": [{"a": 1}]}), schema_rules=rules).results.schema
    data = parquet({"n": [2], "o": [{"a": 2, "b": [1]}], "p": [{"q": "x"}]})
    done = convert_files(tmp_path, data, schema=first, schema_rules=rules, number=1)
    assert (done.types, done.values("o_a")) == ({"n": "bigint", "o_a": "bigint"}, [2])
    assert done.rescued() == [{"o.b": [1], "p": {"q": "x"}}]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"n": ["x"]}, "0.parquet: column 'n' is bigint, and this value is or holds string"),
        ({"n": [1], "new": [1]}, "0.parquet: new key 'new' \\(int\\)"),
        ({"n": pa.array([1, 2**64 - 1], pa.uint64())}, "0.parquet: row 2: column 'n' cannot hold 18446744073709551615"),
    ],
)
def test_mode_strict_fails_a_parquet_manifest_and_names_file_and_column(
    tmp_path: Path, column: dict[str, Any], message: str
) -> None:
    rules = {"mode": "strict"}
    first = convert_files(tmp_path, parquet({"n": [1]}), schema_rules=rules).results.schema
    with pytest.raises(SchemaConflict, match=message):
        convert_files(tmp_path, parquet(column), schema=first, schema_rules=rules, number=1)


def test_a_source_that_becomes_json_again_is_refused_where_a_column_has_a_type_of_parquet(tmp_path: Path) -> None:
    first = convert_files(tmp_path, parquet({"d": [date(2026, 1, 1)]})).results.schema
    with pytest.raises(SchemaConflict, match="column 'd' is date, which no ndjson value is"):
        convert_files(tmp_path, b'{"d":"2026-01-01"}\n', schema=first, source={"format": "ndjson"}, number=1)


def test_parquet_becomes_hive_partitions_by_dates_and_columns(tmp_path: Path) -> None:
    columns = {"d": [date(2026, 1, 31), date(2026, 2, 1)], "mode": ["bike", "a/b"], "long": ["x", "y" * 300]}
    done = convert_files(tmp_path, parquet(columns), output={"partition_by": ["year(d)", "month(d)", "mode", "long"]})
    assert sorted(output.path.rpartition("/")[0] for output in done.results.outputs) == [
        "year=2026/month=1/mode=bike/long=x",
        "year=2026/month=2/mode=a%2Fb/long=__HIVE_DEFAULT_PARTITION__",
    ]
    assert done.rescued() == [{"long": "y" * 300}]


# ---- files


WHOLE = parquet({"n": list(range(5000)), "s": [f"text {n}" for n in range(5000)]}, row_group_size=1000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"PAR1", "too short for Parquet: 4 bytes"),
        (b"PAR1PAR1PAR1", "its footer is to have"),
        (b'{"n":1}\n', "not Parquet: it starts with b'{\"n\"'"),
        (WHOLE[:-1], "cut off: it ends with"),
        (WHOLE[: len(WHOLE) // 2], "cut off: it ends with"),
        (WHOLE[:50] + WHOLE[-200:], "cut off: its footer is to have"),
        (WHOLE[:-400] + bytes(300) + WHOLE[-100:], "Parquet that cannot be read"),
        (WHOLE[:100] + bytes(2000) + WHOLE[2100:], "Parquet that cannot be read"),
    ],
    ids=["empty", "short", "footerless", "json", "tail", "half", "middle gone", "footer", "page"],
)
@pytest.mark.parametrize("output", [{}, ONE_TO_ONE], ids=["parquet", "json"])
def test_an_unreadable_parquet_file_is_quarantined_with_its_reason(
    tmp_path: Path, data: bytes, reason: str, output: dict[str, str]
) -> None:
    assert reason in convert_files(tmp_path, data, output=output).reason()
    beside = convert_files(tmp_path, data, parquet({"m": [1]}), output=output, number=1)
    assert [(file.status, file.rows_written) for file in beside.results.files] == [("QUARANTINED", 0), ("SUCCEEDED", 1)]
    assert beside.types == {"m": "bigint"}


def test_a_column_of_an_unsupported_type_or_two_of_one_name_quarantine_their_file(tmp_path: Path) -> None:
    durations = parquet({"t": pa.array([1], pa.duration("s"))})
    assert "duration[s] is not supported" in convert_files(tmp_path, durations).reason()
    twice = parquet(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    assert "two columns are named 'a'" in convert_files(tmp_path, twice, number=1).reason()


def test_a_file_without_the_expected_columns_is_quarantined_and_every_one_is_named(tmp_path: Path) -> None:
    expect = {"columns": {"n": "bigint", "o.a": "string", "f": "double", "d": "decimal", "z": "date"}}
    source = {"expect": expect}
    good = {"n": [1], "o": [{"a": "x"}], "f": [1], "d": [Decimal("1.5")], "z": pa.nulls(1)}
    assert convert_files(tmp_path, parquet(good), source=source).results.files[0].status == "SUCCEEDED"
    bad = convert_files(tmp_path, parquet({"n": ["1"], "o": [{"b": "x"}], "f": [1.5]}), source=source, number=1)
    assert bad.reason() == (
        "not the columns of source.expect: n is string and not bigint, no column o.a, no column d, no column z"
    )


def test_batches_stream_in_order_however_many_there_are(tmp_path: Path) -> None:
    numbers = list(range(150_000))
    done = convert_files(tmp_path, parquet({"n": numbers}, row_group_size=40_000), output=ONE_TO_ONE)
    assert [line["n"] for line in done.lines] == numbers


def test_dropped_rows_are_counted_for_each_file_of_json_lines(tmp_path: Path) -> None:
    store, manifest = land(tmp_path, {"a.parquet": parquet({"n": [1, None, 3]}), "b.parquet": parquet({"n": [4]})})
    declared = Dataset.model_validate(
        {
            "name": "things",
            "source": {"prefix": "raw/", "format": "parquet"},
            "output": {"prefix": "curated/"} | ONE_TO_ONE,
            "transform": {"drop_nulls": ["n"]},
        }
    )
    done = Done(
        convert(Job(declared, manifest, Schema(), 1, tmp_path / "s", tmp_path, 1, "256MiB"), store), tmp_path / "s"
    )
    assert [(file.rows_read, file.rows_written, file.dropped) for file in done.results.files] == [
        (3, 2, {"drop_nulls": 1}),
        (1, 1, {}),
    ]
    assert [line["n"] for line in done.lines] == [1, 3, 4]


# ---- any values


_SCALARS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "bigint": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "double": (pa.float64(), st.floats()),
    "decimal": (
        pa.decimal128(30, 10),
        st.integers(-(10**30) + 1, 10**30 - 1).map(lambda number: Decimal(f"{number}e-10")),
    ),
    "boolean": (pa.bool_(), st.booleans()),
    "string": (pa.string(), st.text(st.characters(codec="utf-8"))),
    "binary": (pa.binary(), st.binary(max_size=20)),
    "timestamp": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    "date": (pa.date32(), st.dates()),
    "time": (pa.time64("us"), st.times()),
}
_ROWS = st.lists(
    st.fixed_dictionaries(
        {name: st.none() | values for name, (_, values) in _SCALARS.items()}
        | {f"{name}s": st.none() | st.lists(st.none() | values, max_size=3) for name, (_, values) in _SCALARS.items()}
    ),
    min_size=1,
    max_size=5,
)


def comparable(value: Any) -> Any:
    if isinstance(value, float):
        return repr(value)
    return list(map(comparable, value)) if isinstance(value, list) else value


@given(rows=_ROWS)
@settings(max_examples=20, deadline=None)
def test_any_typed_values_agree_after_parquet_and_after_json_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    fields = [(name, type_) for name, (type_, _) in _SCALARS.items()]
    fields += [(f"{name}s", pa.list_(type_)) for name, (type_, _) in _SCALARS.items()]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    as_parquet, as_lines = both(tmp_path_factory.mktemp("any"), table)
    wanted = [{name: comparable(value) for name, value in row.items()} for row in rows]
    for found in (as_parquet.rows, as_lines.read_back()):
        assert [{name: comparable(row[name]) for name in rows[0]} for row in found] == wanted
    assert len(as_lines.lines) == len(rows)
    assert as_parquet.rescued() == []
