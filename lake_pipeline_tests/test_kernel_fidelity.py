"""One trap a test: the value arrives, or is rescued, or its record or file is quarantined with the reason.

Every conversion here is also held to the oracle: nothing is dropped, nothing doubled, no neighbour changed.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.convert import RECORDS
from lake_pipeline.schemas import ListOf
from lake_pipeline_tests.kernel_oracle import agree, convert_files, convert_lines, dataset, land, run

GOOD = b'{"id":1,"name":"x"}\n{"id":2,"name":"y"}\n'
AS_JSON = {"format": "json"}


def hinted(**hints: str) -> dict[str, object]:
    return {"hints": hints}


# ---- numbers


def test_integers_to_64_bits_are_exact(tmp_path: Path) -> None:
    numbers = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 999999999999999, 8999999999999999999, 9000000000000000000]
    converted = convert_lines(tmp_path, *(f'{{"n":{number}}}' for number in numbers))
    assert converted.types() == {"n": "bigint"}
    assert sorted(converted.values("n")) == sorted(numbers)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 2**64 + 1, 10**30, -(10**40)])
def test_a_larger_integer_is_rescued_as_written_and_not_made_a_float(tmp_path: Path, number: int) -> None:
    converted = convert_lines(tmp_path, '{"n":1}', f'{{"n":{number}}}')
    assert converted.types() == {"n": "bigint"}
    assert converted.rescued() == [{"n": str(number)}]


def test_integers_and_floats_make_a_double_column(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"n":1}', '{"n":1.5}', '{"n":9007199254740992}')
    assert converted.types() == {"n": "double"}
    assert sorted(converted.values("n")) == [1.0, 1.5, 9007199254740992.0]


def test_an_integer_that_a_double_would_change_is_rescued(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"n":1.5}', '{"n":9007199254740993}', '{"n":-9007199254740993}')
    assert sorted(row["n"] for row in converted.rescued()) == ["-9007199254740993", "9007199254740993"]


def test_a_decimal_with_more_digits_than_a_double_has_is_rescued(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"n":0.5}', '{"n":0.1234567890123456789}', '{"n":0.12345678901234567}')
    assert converted.rescued() == [{"n": "0.1234567890123456789"}]
    assert 0.12345678901234567 in converted.values("n")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "1.234567890123456e-320"])
def test_a_float_beyond_a_doubles_range_is_rescued(tmp_path: Path, number: str) -> None:
    converted = convert_lines(tmp_path, '{"n":0.5}', f'{{"n":{number}}}')
    assert converted.rescued() == [{"n": number}]


def test_negative_zero_keeps_its_sign(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"n":-0.0}', '{"n":0.0}')
    assert sorted(math.copysign(1, value) for value in converted.values("n")) == [-1, 1]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "inf"])
def test_a_nan_like_word_quarantines_its_record(tmp_path: Path, word: str) -> None:
    converted = convert_lines(tmp_path, '{"n":0.5}', f'{{"n":{word}}}', '{"n":1.5}')
    assert sorted(converted.values("n")) == [0.5, 1.5]
    assert [(entry["line"], entry["raw"]) for entry in converted.quarantined] == [(2, f'{{"n":{word}}}')]


def test_nan_as_text_stays_text(tmp_path: Path) -> None:
    assert convert_lines(tmp_path, '{"s":"NaN"}', '{"s":"Infinity"}').types() == {"s": "string"}


@pytest.mark.parametrize("misfit", ["1.7", "1.0", "1e2", '"12"', "true", "{}", '{"a":1}', "[1]"])
def test_what_is_no_integer_is_not_cast_to_one(tmp_path: Path, misfit: str) -> None:
    converted = convert_lines(tmp_path, '{"n":1}', f'{{"n":{misfit}}}', schema=hinted(n="bigint"))
    assert sorted(converted.values("n"), key=str) == [1, None]
    assert len(converted.rescued()) == 1


@pytest.mark.parametrize("misfit", ["1.50", "12", "true", '{"a":1}', "[1]"])
def test_what_is_no_text_is_not_cast_to_text(tmp_path: Path, misfit: str) -> None:
    converted = convert_lines(tmp_path, '{"s":"x"}', f'{{"s":{misfit}}}', schema=hinted(s="string"))
    assert sorted(converted.values("s"), key=str) == [None, "x"]
    assert f'"s":{misfit}' in next(row["_rescued"] for row in converted.rows if row["_rescued"])


@pytest.mark.parametrize(
    "numbers", ["[12345678901234567890123]", "[1.23456789012345678]", "[1e400]", "[1,9007199254740993,1.5]", "[1e-999]"]
)
def test_numbers_inside_a_list_are_held_to_the_same(tmp_path: Path, numbers: str) -> None:
    converted = convert_lines(tmp_path, '{"l":[1,2.5]}', f'{{"l":{numbers}}}')
    assert converted.types() == {"l": ListOf("double")}
    assert len(converted.rescued()) == 1


@pytest.mark.parametrize("numbers", ["[12345678901234567890123]", "[0.123456789012345678]", "[1e400]", '{"a":[1e400]}'])
def test_numbers_inside_json_text_are_held_to_the_same(tmp_path: Path, numbers: str) -> None:
    converted = convert_lines(tmp_path, '{"p":[1,2]}', f'{{"p":{numbers}}}', schema=hinted(p="json"))
    assert len(converted.rescued()) == 1


def test_numbers_and_strings_make_text_whose_strings_have_no_quotes_around_them(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":"228 City Road"}', '{"a":228}', '{"a":"x"}')
    assert converted.types() == {"a": "string"}
    assert sorted(converted.values("a"), key=str) == ["228 City Road", None, "x"]
    assert converted.rescued() == [{"a": "228"}]


# ---- dates, times and identifiers


def test_dates_uuids_and_times_of_day_stay_text(tmp_path: Path) -> None:
    texts = ["2024-02-29", "2024-02-30", "10:11:12", "0E984725-C51C-4BF4-9960-E1C80E27ABA0", "2024-01-02T03:04:05Z"]
    texts += ["2024-01-02T03:04:05.123456789Z"]
    converted = convert_lines(tmp_path, *(json.dumps({"t": text}) for text in texts))
    assert converted.types() == {"t": "string"}
    assert sorted(converted.values("t")) == sorted(texts)


def test_timestamps_with_and_without_zone_are_utc_to_the_microsecond(tmp_path: Path) -> None:
    texts = ["2024-01-02T03:04:05Z", "2024-01-02 03:04:05", "2024-01-02T03:04:05.123456+05:30", "2024-01-02T03:04"]
    texts += ["2024-01-02T03:04:05+0530", "1969-12-31T23:59:59.999999-14:00", "0001-01-02T00:00:00+14:00"]
    converted = convert_lines(tmp_path, *(json.dumps({"t": text}) for text in texts), schema=hinted(t="timestamp"))
    assert converted.rescued() == []
    assert converted.values("t").count(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)) == 2
    assert datetime(2024, 1, 1, 21, 34, 5, 123456, tzinfo=UTC) in converted.values("t")


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-02T24:00:00Z",
        "2024-01-02T03:04:60Z",
        "2024-01-02T03:04:05.123456789Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2024-01-02T03:04:05 Europe/Paris",
        "2024-01-02",
        "infinity",
        "epoch",
        "",
    ],
)
def test_a_timestamp_that_does_not_exist_or_would_be_cut_is_rescued(tmp_path: Path, text: str) -> None:
    good = '{"t":"2024-01-02T03:04:05Z"}'
    converted = convert_lines(tmp_path, good, json.dumps({"t": text}), schema=hinted(t="timestamp"))
    assert converted.rescued() == [{"t": text}]


def test_epoch_milliseconds_stay_integers_and_are_rescued_from_a_timestamp_column(tmp_path: Path) -> None:
    assert convert_lines(tmp_path / "1", '{"t":1704164645123}').values("t") == [1704164645123]
    converted = convert_lines(
        tmp_path / "2", '{"t":1704164645123}', '{"t":"2024-01-02T03:04:05Z"}', schema=hinted(t="timestamp")
    )
    assert converted.rescued() == [{"t": "1704164645123"}]


# ---- null, absent, empty


def test_null_and_absent_are_both_null(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":1,"b":{"c":2}}', '{"a":null,"b":{"c":null}}', '{"b":null}', "{}")
    assert converted.values("a").count(None) == 3
    assert converted.values("b_c").count(None) == 3
    assert converted.rescued() == []


def test_an_empty_array_is_not_null(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":[1]}', '{"a":[]}', '{"a":null}', '{"a":[null]}')
    assert sorted(converted.values("a"), key=str) == [None, [1], [None], []]


def test_an_empty_object_whose_structure_was_never_seen_is_json_text(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":{},"b":[],"c":null}', '{"a":null,"b":null}')
    assert converted.types() == {"a": "json", "b": "json"}
    assert sorted(converted.values("a"), key=str) == [None, "{}"]
    assert sorted(converted.values("b"), key=str) == [None, "[]"]


def test_an_empty_object_where_columns_come_from_its_keys_is_rescued(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":{"b":1}}', '{"a":{}}', '{"a":{"b":null}}')
    assert [row["_rescued"] for row in converted.rows if row["_rescued"]] == ['{"a":{}}']


def test_a_file_of_empty_records_has_as_many_rows(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, "{}", '{"a":null}', "{}", '{"a":null "b":null}')
    assert len(converted.rows) == 3
    assert len(converted.quarantined) == 1


def test_booleans_are_neither_numbers_nor_text(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":true}', '{"a":false}', '{"a":null}')
    assert converted.types() == {"a": "boolean"}
    mixed = convert_lines(tmp_path / "2", '{"a":true}', '{"a":1}')
    assert sorted(mixed.values("a")) == ["1", "true"]


# ---- keys


def test_keys_that_differ_only_in_case_are_columns_of_their_own(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"A":1,"a":2}', '{"a":3}', '{"A":4}', '{"x":{"K":1,"k":2}}')
    assert list(converted.types()) == ["A", "a_2", "x_K", "x_k_2"]
    assert sorted(filter(None, converted.values("A"))) == [1, 4]
    assert sorted(filter(None, converted.values("a_2"))) == [2, 3]


def test_keys_that_differ_only_in_case_inside_a_list_are_kept_as_json(tmp_path: Path) -> None:
    assert convert_lines(tmp_path, '{"l":[{"K":1,"k":2}]}').types() == {"l": ListOf("json")}


ODD_KEYS = [
    "a.b",
    'a"b',
    "a'b",
    "a b",
    " ",
    "",
    "'; DROP TABLE t; --",
    "日本語",
    "é",
    "a\nb",
    "a\tb",
    "\\",
    "/",
    "*",
    "[0]",
]
MORE_ODD_KEYS = [
    "$",
    "#",
    "😀",
    "\u007f",
    "\u2028",
    "select",
    "x" * 2000,
    "\ufeff",
    "%s",
    "{i}",
    "{}",
    "?",
    "^(a|b)$",
    "(?:",
]


@pytest.mark.parametrize("key", [*ODD_KEYS, *MORE_ODD_KEYS])
def test_an_odd_key_is_a_column(tmp_path: Path, key: str) -> None:
    record = json.dumps({key: 1, "o": {key: "x"}, "l": [{key: True}]}, ensure_ascii=False)
    escaped = json.dumps({key: 2, "o": {key: "y"}, "l": [{key: False}]})
    converted = convert_lines(tmp_path, record, escaped, record)
    assert [column.path for column in converted.columns] == [(key,), ("o", key), ("l",)]
    assert sorted(converted.values(converted.columns[0].name)) == [1, 1, 2]
    assert converted.rescued() == []


def test_a_key_with_a_dot_is_not_taken_for_a_path(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a.b":1,"a":{"b":2}}', '{"a":{"b":3}}')
    assert converted.types() == {"a_b": "bigint", "a_b_2": "bigint"}


@pytest.mark.parametrize("key", ["\\u0000", "\\ud800", "a\\udc00"])
def test_a_key_that_no_column_name_can_hold_quarantines_its_record(tmp_path: Path, key: str) -> None:
    converted = convert_lines(tmp_path, '{"a":1}', f'{{"{key}":1}}')
    assert len(converted.rows) == 1
    assert "NUL or half a surrogate" in converted.quarantined[0]["reason"]


@pytest.mark.parametrize(
    "record", ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a":1,"o":{"b":1,"b":1}}', '{"a":1,"l":[{"c":1,"c":2}]}']
)
def test_a_duplicate_key_quarantines_its_record(tmp_path: Path, record: str) -> None:
    plain = '{"a":1,"o":{"b":2},"l":[{"c":3}]}'
    converted = convert_lines(tmp_path, plain, record, plain)
    assert len(converted.rows) == 2
    assert "duplicate key" in converted.quarantined[0]["reason"]
    assert converted.quarantined[0]["raw"] == record


def test_a_duplicate_key_in_an_object_that_has_no_column_is_rescued_with_both_values(tmp_path: Path) -> None:
    record = '{"a":1,"new":{"b":1,"b":2},"also":3}'
    converted = convert_lines(tmp_path, '{"a":1}', record)
    assert converted.rescued() == [{"new": [("b", "1"), ("b", "2")], "also": "3"}]
    assert converted.quarantined == []
    known = convert_lines(tmp_path / "known", record, '{"a":1,"new":{"b":3}}')
    assert [entry["raw"] for entry in known.quarantined] == [record]


def test_a_duplicate_key_inside_json_text_is_kept(tmp_path: Path) -> None:
    record = '{"a":1,"p":{"x":1,"x":2}}'
    converted = convert_lines(tmp_path, record, record, schema={"flatten": {"keep_json": ["p"]}})
    assert converted.values("p") == ['{"x":1,"x":2}'] * 2


def test_a_duplicate_key_inside_json_text_in_a_list_is_kept(tmp_path: Path) -> None:
    lines = ['{"l":[1,{"x":1,"y":2}]}', '{"l":[{"x":1,"x":2}]}', '{"l":[{"x":1,"x":1e400}]}']
    converted = convert_lines(tmp_path, *lines)
    assert ['{"x":1,"x":2}'] in converted.values("l")
    assert [row["_rescued"] for row in converted.rows if row["_rescued"]] == ['{"l":[{"x":1,"x":1e400}]}']


def test_names_of_the_platforms_own_columns_are_left_to_it(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"_source_file":"s","_rescued":{"a":1},"_RESCUED":2}')
    assert list(converted.types()) == ["_source_file_2", "_rescued_a", "_RESCUED_2"]
    assert converted.values("_source_file") == ["raw/a.ndjson"]


def test_a_key_spelled_like_the_kernels_own_is_no_way_in(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"a":1,"A":2,"__lake_door_1":3}', '{"a":4,"__lake_door_1":5}')
    assert sorted(converted.values("A_2"), key=str) == [2, None]


def test_two_hundred_keys_are_two_hundred_columns(tmp_path: Path) -> None:
    wide = {f"k{number}": number for number in range(300)}
    some = {f"k{number}": number for number in range(0, 300, 3)}
    converted = convert_lines(tmp_path, json.dumps(wide), json.dumps(some), json.dumps(wide))
    assert len(converted.columns) == 300


def test_keys_in_any_order_are_the_same_columns(tmp_path: Path) -> None:
    orders = [dict(zip(order, range(4), strict=True)) for order in ("abcd", "dcba", "bdac", "cadb", "acbd", "dbca")]
    converted = convert_lines(tmp_path, *map(json.dumps, orders * 3))
    assert converted.rescued() == []
    assert list(converted.types()) == ["a", "b", "c", "d"]


# ---- text


@pytest.mark.parametrize(
    "text", ["a\\u0000b", "\\u0000", '\\b\\f\\n\\r\\t\\/\\\\\\"', "\\ud83d\\ude00", "😀é\u2028", "\x7f"]
)
def test_a_string_arrives_whatever_is_in_it(tmp_path: Path, text: str) -> None:
    converted = convert_lines(tmp_path, '{"s":"x","l":["x"]}', f'{{"s":"{text}","l":["{text}"]}}')
    assert json.loads(f'"{text}"') in converted.values("s")
    assert converted.rescued() == []


@pytest.mark.parametrize("text", ["\\ud800", "a\\udc00b", "\\ude00\\ud83d"])
def test_half_a_surrogate_pair_is_rescued(tmp_path: Path, text: str) -> None:
    converted = convert_lines(tmp_path, '{"s":"x"}', f'{{"s":"{text}"}}', f'{{"s":["{text}"]}}')
    assert converted.values("s").count(None) == 2
    assert len(converted.rescued()) == 2


def test_a_line_that_is_not_utf8_is_quarantined_with_its_bytes(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"s":"x"}', b'{"s":"\xff"}', '{"s":"y"}')
    assert sorted(converted.values("s")) == ["x", "y"]
    assert converted.quarantined[0]["raw_base64"]
    assert "not UTF-8" in converted.quarantined[0]["reason"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_a_byte_order_mark_is_understood(tmp_path: Path, encoding: str, format_: str) -> None:
    text = '{"id":1,"name":"é"}\n{"id":2,"name":"日本"}\n'
    data = (("\ufeff" if encoding.endswith(("le", "be")) else "") + text).encode(encoding)
    converted = convert_files(tmp_path, {"a.x": data}, source={"format": format_})
    assert sorted(converted.values("name")) == ["é", "日本"]


def test_utf16_without_a_mark_is_quarantined(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.x": GOOD.decode().encode("utf-16-le"), "b.x": GOOD})
    assert converted.file("raw/a.x").status == "QUARANTINED"
    assert len(converted.rows) == 2


# ---- lines and files


@pytest.mark.parametrize(
    "data",
    [
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.rstrip(),
        b"\n\n" + GOOD.replace(b"\n", b"\n\n  \n\t\r\n"),
        b"  " + GOOD.replace(b"\n", b"  \n  "),
        b"\xef\xbb\xbf" + GOOD,
    ],
    ids=["CRLF", "no last newline", "blank lines", "spaces around", "BOM"],
)
@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_lines_are_read_however_they_end(tmp_path: Path, data: bytes, format_: str) -> None:
    converted = convert_files(tmp_path, {"a.x": data}, source={"format": format_})
    assert sorted(converted.values("name")) == ["x", "y"]


def test_a_bad_lines_number_counts_blank_lines(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.x": b"\n" + GOOD + b"\n\nbad\n" + GOOD})
    assert [entry["line"] for entry in converted.quarantined] == [6]


def test_concatenated_gz_members_are_one_file(tmp_path: Path) -> None:
    data = gzip.compress(GOOD[:25]) + gzip.compress(GOOD[25:]) + gzip.compress(b"")
    assert len(convert_files(tmp_path, {"a.ndjson.gz": data}).rows) == 2


def test_concatenated_zst_frames_are_one_file(tmp_path: Path) -> None:
    data = b"".join(pa.compress(part, "zstd", asbytes=True) for part in (GOOD[:25], GOOD[25:]))
    assert len(convert_files(tmp_path, {"a.ndjson.zst": data}).rows) == 2


@pytest.mark.parametrize("keep", [10, 18, 40, -1, -8, -9])
def test_a_truncated_gz_is_quarantined_and_its_neighbour_is_not_changed(tmp_path: Path, keep: int) -> None:
    lines = b"".join(b'{"id":"%032x","extra":1}\n' % number for number in range(9000))
    data = gzip.compress(lines)[:keep]
    converted = convert_files(tmp_path, {"a.ndjson.gz": data, "b.ndjson": GOOD})
    assert converted.file("raw/a.ndjson.gz").status == "QUARANTINED"
    assert "ends early" in (converted.file("raw/a.ndjson.gz").error_message or "")
    assert converted.types() == {"id": "bigint", "name": "string"}
    assert converted.rescued() == []


@pytest.mark.parametrize("keep", [3, 10, 40, -1])
def test_a_truncated_zst_is_quarantined(tmp_path: Path, keep: int) -> None:
    lines = b"".join(b'{"id":"%032x","extra":1}\n' % number for number in range(9000))
    converted = convert_files(tmp_path, {"a.zst": pa.compress(lines, "zstd", asbytes=True)[:keep], "b.ndjson": GOOD})
    assert converted.file("raw/a.zst").status == "QUARANTINED"
    assert converted.types() == {"id": "bigint", "name": "string"}


def test_a_gz_whose_bytes_were_changed_is_quarantined(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(GOOD * 50))
    data[-6] ^= 0xFF
    converted = convert_files(tmp_path, {"a.gz": bytes(data), "b.ndjson": GOOD})
    assert converted.file("raw/a.gz").status == "QUARANTINED"


def test_what_is_named_gz_and_is_not_is_quarantined(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.gz": GOOD, "b.zst": GOOD, "c.ndjson": GOOD})
    assert [file.status for file in converted.results.files] == ["QUARANTINED", "QUARANTINED", "SUCCEEDED"]


def _png() -> bytes:
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0\xff\0\0")), (b"IEND", b"")]
    body = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n\t\r\n ",
        b"\xef\xbb\xbf",
        _png(),
        b"[",
        b"{",
        b'[{"id":1},{"id":2},',
        b'[{"id":1},{"id":2',
        b'[{"id":1},{"id":2},]',
        b'[{"id":1}] x',
        b'[{"id":1}][{"id":2}]',
        b'[{"id":1}',
        b"hello\nworld\n",
        b"12",
        b'"text"',
        b"null",
        b"[1,2,3]",
        b"\x00" * 1000,
        b"<html></html>",
    ],
    ids=lambda data: repr(data[:24]),
)
@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_an_unreadable_file_is_quarantined_with_its_reason(tmp_path: Path, data: bytes, format_: str) -> None:
    converted = convert_files(tmp_path, {"a.json": data, "b.json": GOOD}, source={"format": format_})
    assert [file.status for file in converted.results.files] == ["QUARANTINED", "SUCCEEDED"]
    assert len(converted.rows) == 2
    assert converted.types() == {"id": "bigint", "name": "string"}


def test_an_empty_array_is_a_file_of_no_records(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.json": b"[]"}, source=AS_JSON)
    assert converted.only_file().status == "SUCCEEDED"
    assert converted.rows == []


def test_ndjson_named_json_is_read_as_lines(tmp_path: Path) -> None:
    for number, data in enumerate([GOOD, b"bad\n" + GOOD, b'{"cut\n' + GOOD, GOOD[:20] + b"bad\n"]):
        format_ = "ndjson" if data.startswith(b"bad") else "json"
        converted = convert_files(tmp_path / str(number), {"a.json": data}, source={"format": format_})
        assert set(converted.values("name")) <= {"x", "y"}
        assert converted.only_file().rows_written == data.count(b"name")


def test_a_pretty_printed_document_is_one_record(tmp_path: Path) -> None:
    document = {"id": 1, "user": {"name": "x"}, "tags": [{"a": 1}]}
    for number, text in enumerate([json.dumps(document, indent=2), '{"id":\n1}', '{"user":\n{"name":"x"}\n}']):
        converted = convert_files(tmp_path / str(number), {"a.json": text.encode()}, source=AS_JSON)
        assert len(converted.rows) == 1
        assert converted.quarantined == []


def test_the_first_record_may_be_longer_than_a_chunk(tmp_path: Path) -> None:
    data = json.dumps({"name": "x" * (9 * 2**20)}).encode() + b"\n" + GOOD
    converted = convert_files(tmp_path, {"a.json": data}, source=AS_JSON)
    assert len(converted.rows) == 3


@pytest.mark.parametrize("path", ["data", "data.items", "a.b.c.d"])
def test_records_are_found_at_a_path(tmp_path: Path, path: str) -> None:
    document: object = [{"id": 1}, {"id": 2}]
    for key in reversed(path.split(".")):
        document = {"other": [{"id": 9}], key: document, "after": {}}
    converted = convert_files(tmp_path, {"a.json": json.dumps(document).encode()}, source=AS_JSON | {"records": path})
    assert sorted(converted.values("id")) == [1, 2]


@pytest.mark.parametrize(
    "document",
    [
        '{"data":{"items":5}}',
        '{"data":{"items":{"id":1}}}',
        '{"data":{}}',
        '{"data":null}',
        "[]",
        '[{"id":1}]',
        "{}",
        '{"data":{"items":[{"id":1}],"items":[{"id":2}]}}',
        '{"data":{"items":[{"id":1}]},"data":{"items":[]}}',
        '{"data":{"items":[{"id":1},',
    ],
)
def test_where_the_path_has_no_array_or_two_the_file_is_quarantined(tmp_path: Path, document: str) -> None:
    good = b'{"data":{"items":[{"id":1}]}}'
    source = AS_JSON | {"records": "data.items"}
    converted = convert_files(tmp_path, {"a.json": document.encode(), "b.json": good}, source=source)
    assert [file.status for file in converted.results.files] == ["QUARANTINED", "SUCCEEDED"]


def test_a_bad_record_in_an_array_names_the_line_it_starts_on(tmp_path: Path) -> None:
    text = b'{"meta": {"n": 5},\n "items": [\n  {"id": 1},\n  5,\n  {\n   "id": 2}, 5]}\n'
    converted = convert_files(tmp_path, {"a.json": text}, source=AS_JSON | {"records": "items"})
    assert [(entry["line"], entry["raw"]) for entry in converted.quarantined] == [(4, "5"), (6, "5")]


def test_one_bad_line_among_good_ones_is_quarantined_alone(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.x": GOOD + b"{bad}\n" + GOOD, "b.x": GOOD})
    assert len(converted.rows) == 6
    (entry,) = converted.quarantined
    assert (entry["file"], entry["line"], entry["raw"]) == ("raw/a.x", 3, "{bad}")
    assert "not JSON" in entry["reason"]


def test_lines_that_are_almost_json_are_quarantined_and_not_mended(tmp_path: Path) -> None:
    lines = [
        '{"a":1,}',
        '{"a":1,"l":[1,]}',
        '{"a":1}{"a":2}',
        '{"a":1 "l":[]}',
        '{,"a":1}',
        '{"a":01}',
        '{"a":1,"l":[1 2]}',
    ]
    lines += [
        "{'a':1}",
        '{"a":1]',
        '{"a":+1}',
        '{"a":.5}',
        '{"a":1.}',
        '{"a":1,"l":[,1]}',
        '{"a":1,"p":[1 2]}',
        '{"a":1}x',
    ]
    lines += [
        '{"a":1,"p":[1,]}',
        '{"a":1,"p":{"x":1,}}',
        '{"a":1,"p":[NaN]}',
        '{"a":1,"p":["x":1]}',
        '{"a":1,"p":{1:2}}',
    ]
    good = '{"a":1,"l":[1,2],"p":{"x":[1]}}'
    converted = convert_lines(tmp_path, good, *lines, good, good, schema=hinted(p="json"))
    assert len(converted.rows) == 3
    assert [entry["raw"] for entry in converted.quarantined] == lines


def test_what_only_duckdb_can_refuse_makes_it_check_every_record(tmp_path: Path) -> None:
    good = '{"a":1,"b":{"c":"x"}}'
    lines = [good] * 5 + ['{"a":1 "b":{"c":"x"}}', '{,"a":1,"b":{"c":"x"}}'] + [good] * 5
    converted = convert_lines(tmp_path, *lines, output={"partition_by": ["b_c"]})
    assert len(converted.rows) == 10
    assert [entry["line"] for entry in converted.quarantined] == [6, 7]


def test_a_file_whose_every_line_is_bad_is_quarantined_whole(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.x": b"{bad}\n{worse\n", "b.x": GOOD})
    assert converted.file("raw/a.x").status == "QUARANTINED"
    assert "none of its 2 records" in (converted.file("raw/a.x").error_message or "")
    assert not (converted.staging / RECORDS).exists()


def test_a_manifest_of_nothing_readable_succeeds_with_no_rows(tmp_path: Path) -> None:
    converted = convert_files(tmp_path, {"a.x": b"", "b.x": b"{"})
    assert [file.status for file in converted.results.files] == ["QUARANTINED", "QUARANTINED"]
    assert converted.results.outputs == ()


def test_a_file_that_vanished_or_changed_since_it_was_listed_fails_alone(tmp_path: Path) -> None:
    store, manifest = land(tmp_path, {"a.x": GOOD, "b.x": GOOD, "c.x": GOOD, "d.x": GOOD})
    store.delete(["raw/a.x"])
    store.put("raw/b.x", GOOD + GOOD)
    os.utime(tmp_path / "store" / "raw" / "c.x", ns=(1, 1))
    converted = run(tmp_path, store, manifest, dataset())
    agree(converted)
    assert [file.status for file in converted.results.files] == ["FAILED", "FAILED", "FAILED", "SUCCEEDED"]
    assert {file.error_class for file in converted.results.files[:3]} == {"ObjectMissing", "ObjectChanged"}
    assert len(converted.rows) == 2


# ---- size and depth


def _nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize("levels", [5, 190, 300, 700, 990, 5_000, 100_000])
@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_deep_nesting_arrives_or_is_quarantined(tmp_path: Path, levels: int, format_: str) -> None:
    data = b'{"a":[[1]]}\n' + _nested(levels) + b'\n{"a":[[2]]}\n'
    converted = convert_files(tmp_path, {"a.x": data}, source={"format": format_})
    assert len(converted.rows) == (3 if levels < 200 else 2)
    assert [entry["line"] for entry in converted.quarantined] == ([] if levels < 200 else [2])


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_hundred_thousand_opening_brackets_do_no_harm(tmp_path: Path, opening: bytes) -> None:
    files = {"a.json": opening * 100_000, "b.json": GOOD, "c.json": b"[" + _nested(100_000) + b"]"}
    converted = convert_files(tmp_path, files, source=AS_JSON)
    assert [file.status for file in converted.results.files] == ["QUARANTINED", "SUCCEEDED", "QUARANTINED"]


@pytest.mark.parametrize("size", [5 * 2**20, pytest.param(100 * 2**20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_a_very_large_record_arrives(tmp_path: Path, size: int, format_: str) -> None:
    record = json.dumps(
        {"id": 3, "name": "é" * (size // 4), "list": list(range(size // 16)), "more": {"x": "y" * (size // 4)}}
    )
    data = GOOD + record.encode() + b"\n" + GOOD
    converted = convert_files(tmp_path, {"a.x": data}, source={"format": format_})
    assert len(converted.rows) == 5
    assert max(map(len, filter(None, converted.values("more_x")))) == size // 4


# ---- partitions


def test_rows_lie_in_folders_by_date_and_mode(tmp_path: Path) -> None:
    lines = [
        '{"date":"2024-02-29","mode":"bike"}',
        '{"date":"2024-02-30","mode":"a/b=c"}',
        '{"date":null,"mode":null}',
        "{}",
    ]
    converted = convert_lines(
        tmp_path, *lines, output={"partition_by": ["year(date)", "month(date)", "day(date)", "mode"]}
    )
    folders = {output.path.rsplit("/", 1)[0]: output.rows for output in converted.results.outputs}
    unknown = "__HIVE_DEFAULT_PARTITION__"
    nowhere = f"year={unknown}/month={unknown}/day={unknown}"
    assert folders == {
        "year=2024/month=2/day=29/mode=bike": 1,
        f"{nowhere}/mode=a%2Fb%3Dc": 1,
        f"{nowhere}/mode={unknown}": 2,
    }


def test_odd_partition_values_come_back(tmp_path: Path) -> None:
    values = ["NULL", "__HIVE_DEFAULT_PARTITION__", "..", "é", "a b", "%41", "x'y", "\0", "a\nb", "01", "日本" * 5]
    converted = convert_lines(
        tmp_path, *(json.dumps({"mode": value}) for value in values), output={"partition_by": ["mode"]}
    )
    assert sorted(converted.values("mode")) == sorted(values)


@pytest.mark.parametrize("value", ["x" * 300, "日本" * 40, "/" * 100])
def test_a_partition_value_too_long_for_a_folder_name_is_rescued(tmp_path: Path, value: str) -> None:
    converted = convert_lines(
        tmp_path, '{"mode":"bike"}', json.dumps({"mode": value}), output={"partition_by": ["mode"]}
    )
    assert converted.rescued() == [{"mode": value}]


@pytest.mark.parametrize("mode", ["evolve", "strings"])
def test_an_empty_partition_value_is_rescued(tmp_path: Path, mode: str) -> None:
    lines = ['{"mode":"bike"}', '{"mode":""}', '{"mode":" "}']
    converted = convert_lines(tmp_path, *lines, schema={"mode": mode}, output={"partition_by": ["mode"]})
    assert converted.rescued() == [{"mode": ""}]
    assert sorted(converted.values("mode"), key=str) == [" ", None, "bike"]


def test_folders_are_spelled_as_hive_spells_them_with_letters_of_any_alphabet_unescaped(tmp_path: Path) -> None:
    values = ["é", "日本", "a b/ü=%", "%C3%A9"]
    lines = [json.dumps({"mode": value}) for value in values]
    converted = convert_lines(tmp_path, *lines, output={"partition_by": ["mode"]})
    assert sorted(Path(output.path).parent.as_posix() for output in converted.results.outputs) == [
        "mode=%25C3%25A9",
        "mode=a%20b%2Fü%3D%25",
        "mode=é",
        "mode=日本",
    ]
    assert sorted(converted.values("mode")) == sorted(values)


def test_a_partition_key_finds_its_column_whatever_its_case(tmp_path: Path) -> None:
    line = '{"DATE":"2024-02-29","MODE":"bike"}'
    converted = convert_lines(tmp_path, line, line, output={"partition_by": ["year(date)", "mode"]})
    assert [output.path.rsplit("/", 1)[0] for output in converted.results.outputs] == ["year=2024/mode=bike"]


def test_a_source_key_named_like_a_computed_partition_key_is_renamed(tmp_path: Path) -> None:
    converted = convert_lines(
        tmp_path,
        '{"date":"2024-02-29","year":"leap","Month":7}',
        output={"partition_by": ["year(date)", "month(date)"]},
    )
    assert converted.types() == {"date": "string", "year_2": "string", "Month_2": "bigint"}


@pytest.mark.parametrize(("line", "key"), [('{"m":[1]}', "m"), ('{"m":{}}', "m"), ('{"m":1}', "year(m)")])
def test_a_partition_column_that_names_no_folder_is_a_conflict(tmp_path: Path, line: str, key: str) -> None:
    with pytest.raises(SchemaConflict, match=r"partition_by.*\bm\b"):
        convert_lines(tmp_path, line, output={"partition_by": [key]})
