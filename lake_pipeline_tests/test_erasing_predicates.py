"""Which rows a predicate takes, on every road that rows are erased by, held to plain Python; and what is none."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake_pipeline.erasures import Erasure
from lake_pipeline.errors import PredicateInvalid
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.kernel.erasing import Table
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.predicate import check_predicate, matching_sql
from lake_pipeline.kernel.raw_erasing import matching_records, without_records
from lake_pipeline.kernel.results import Results
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.manifests import Manifest
from lake_pipeline.schemas import Column, ListOf, Schema, StructOf
from lake_pipeline.store import Store
from lake_pipeline_tests.kernel_oracle import dataset, land, read_rows

Row = dict[str, Any]
Truth = bool | None
Predicate = tuple[str, Callable[[Row], Truth]]

DECLARED = dataset(
    output={"prefix": "curated/", "partition_by": ["mode"]}, schema={"flatten": {"keep_json": ["payload"]}}
)
TEXTS = ["", "x", "it's", 'say "hi"', "é", "日本", "a;b", "-- c", "null", "100%", "a\nb", "'; DROP TABLE x"]
MODES = ["bike", "a b", "it's", "é", "x=y", "100%", "(a)"]
FULL = {"id": 0, "name": "x", "n": 1, "mode": "bike", "tags": ["x"], "payload": {"k": "x"}}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.none() | st.sampled_from(TEXTS),
            "n": st.none() | st.integers(-3, 3),
            "mode": st.none() | st.sampled_from(MODES),
            "tags": st.none() | st.lists(st.sampled_from(TEXTS), max_size=3),
            "payload": st.none() | st.fixed_dictionaries({"k": st.sampled_from(TEXTS)}),
        }
    ),
    max_size=8,
)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def known(row: Row, column: str, holds: Callable[[Any], bool]) -> Truth:
    return None if row[column] is None else holds(row[column])


def leaf() -> st.SearchStrategy[Predicate]:
    texts, numbers = st.sampled_from(TEXTS), st.integers(-3, 3)
    return st.one_of(
        texts.map(lambda t: (f"name = {quoted(t)}", lambda row: known(row, "name", lambda v: v == t))),
        texts.map(lambda t: (f"NAME <> {quoted(t)}", lambda row: known(row, "name", lambda v: v != t))),
        st.just(("name IS NULL", lambda row: row["name"] is None)),
        numbers.map(lambda k: (f"n < {k}", lambda row: known(row, "n", lambda v: v < k))),
        numbers.map(lambda k: (f"n BETWEEN {k} AND {k + 1}", lambda row: known(row, "n", lambda v: k <= v <= k + 1))),
        st.sampled_from(MODES).map(lambda t: (f"mode = {quoted(t)}", lambda row: known(row, "mode", lambda v: v == t))),
        texts.map(lambda t: (f"list_contains(tags, {quoted(t)})", lambda row: known(row, "tags", lambda v: t in v))),
        texts.map(
            lambda t: (f"payload ->> '$.k' = {quoted(t)}", lambda row: known(row, "payload", lambda v: v["k"] == t))
        ),
        st.tuples(texts, texts).map(
            lambda t: (f"name IN ({quoted(t[0])}, {quoted(t[1])})", lambda row: known(row, "name", lambda v: v in t))
        ),
    )


def negated(one: Predicate) -> Predicate:
    def truth(row: Row) -> Truth:
        return None if (found := one[1](row)) is None else not found

    return f"NOT ({one[0]})", truth


def joined(word: str, one: Predicate, other: Predicate) -> Predicate:
    decisive = word == "OR"

    def truth(row: Row) -> Truth:
        found = one[1](row), other[1](row)
        return decisive if decisive in found else None if None in found else not decisive

    return f"({one[0]}) {word} ({other[0]})", truth


PREDICATES = st.recursive(
    leaf(),
    lambda inner: (
        inner.map(negated) | st.tuples(st.sampled_from(["AND", "OR"]), inner, inner).map(lambda parts: joined(*parts))
    ),
    max_leaves=4,
)


def converted(root: Path, store: Store, manifest: Manifest, *erasures: Erasure) -> tuple[Path, Results]:
    staging = root / "staging"
    job = Job(DECLARED, manifest, Schema(), 1, staging, root / "scratch", 1, "1GiB", erasures)
    return staging / "data", convert(job, store)


def rows_in(data: Path, results: Results) -> Counter[str]:
    found: Counter[str] = Counter()
    for output in results.outputs:
        found.update(as_text(row) for row in read_rows(data, output.path, results.schema))
    return found


def as_text(row: Row) -> str:
    payload = json.loads(row["payload"]) if isinstance(row["payload"], str) else row["payload"]
    return json.dumps({name: row[name] for name in FULL} | {"payload": payload}, sort_keys=True)


@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
@given(files=st.lists(ROWS, min_size=2, max_size=2), predicate=PREDICATES)
def test_outputs_replays_and_raw_files_lose_the_rows_that_python_says(
    files: list[list[Row]], predicate: Predicate
) -> None:
    sql, truth = predicate
    listed = [[FULL, *({"id": n, **row} for n, row in enumerate(some, 1))] for some in files]
    left = Counter(as_text(row) for some in listed for row in some if truth(row) is not True)
    data = {f"{n}.ndjson": "\n".join(map(json.dumps, some)).encode() for n, some in enumerate(listed)}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        store, manifest = land(root, data)
        folder, whole = converted(root / "whole", store, manifest)
        check_predicate(sql, DECLARED, whole.schema)

        # A conversion that knows of the request.
        replayed = converted(root / "replay", store, manifest, Erasure(1, f"{sql} -- by request", 2))
        assert rows_in(*replayed) == left
        assert sum(file.rows_erased for file in replayed[1].files) == sum(map(len, listed)) - left.total()
        # One whose second file landed after it.
        later = converted(root / "later", store, manifest, Erasure(1, sql, 1))
        assert rows_in(*later) == Counter(
            as_text(row) for number, some in enumerate(listed) for row in some if number or truth(row) is not True
        )

        # Curated files, written anew.
        table = Table(DECLARED, whole.schema, Means(root / "scratch", 1, "1GiB"))
        condition = matching_sql(sql)
        paths = {str(folder / output.path): output for output in whole.outputs}
        matches = table.matches(dict.fromkeys(paths), condition)
        kept: Counter[str] = Counter()
        for path, output in paths.items():
            erased = sum(matches.get(path, {}).values())
            target = root / "rewritten" / output.path
            before = as_texts(Path(path), output.path, folder, whole.schema)
            if erased:
                assert table.rewrite(path, condition, target) == (output.rows, output.rows - erased)
                assert target.exists() == (output.rows > erased)
                after = as_texts(target, output.path, root / "rewritten", whole.schema) if target.exists() else []
                # In the order that they had.
                assert after == [row for row in before if row in set(after)]
                before = after
            kept.update(before)
        assert kept == left

        # Raw files, written anew.
        raw = [RawFile(file.id, file.key, root / "store" / file.key) for file in manifest.files]
        found, unread = matching_records(raw, DECLARED, whole.schema, {}, condition, table.means)
        assert unread == {}
        remaining: Counter[str] = Counter()
        for file in raw:
            target = root / f"raw-{file.id}"
            records = without_records(file, DECLARED.source, found.get(file.key, set()), target)
            lines = target.read_text().split("\n")[:records]
            assert records == len(lines)
            remaining.update(as_text({**dict.fromkeys(FULL), **json.loads(line)}) for line in lines)
        assert remaining == left


def as_texts(file: Path, path: str, data: Path, schema: Schema) -> list[str]:
    assert file == data / path
    return [as_text(row) for row in read_rows(data, path, schema)]


SCHEMA = Schema(
    1,
    (
        Column("id", ("id",), "string"),
        Column("n", ("n",), "bigint"),
        Column("ts", ("ts",), "timestamp"),
        Column("tags", ("tags",), ListOf("string")),
        Column("items", ("items",), ListOf(StructOf((("k", "bigint"),)))),
        Column("payload", ("payload",), "json"),
    ),
)
DATED = dataset(output={"prefix": "curated/", "partition_by": ["year(ts)"]})


@pytest.mark.parametrize(
    "predicate",
    [
        "id = 'it''s' -- a remark",
        "ID LIKE 'é%' AND year = 2026",
        "ts >= TIMESTAMP '2026-01-01' AND ts < '2026-02-01'",
        "len(list_filter(items, lambda item: item.k > 3)) > 0",
        "payload ->> '$.user' = 'x' OR _rescued IS NOT NULL OR _source_file LIKE 'raw/%'",
        "n IN (1, 2) OR CASE WHEN n > 5 THEN id = 'x' ELSE false END",
        "CAST(n AS VARCHAR) = nullif(id, '') OR 'x' IN tags",
    ],
)
def test_conditions_on_columns_are_taken(predicate: str) -> None:
    check_predicate(predicate, DATED, SCHEMA)


@pytest.mark.parametrize(
    ("predicate", "reason"),
    [
        ("", "syntax error"),
        ("id = ", "syntax error"),
        ("id = 'a') OR (id = 'b'", "syntax error"),
        ("id = 'a'; DROP TABLE lake.outputs", "one expression"),
        ("id = 'a' LIMIT 1", "one expression"),
        ("id = 'a' UNION SELECT 1", "one expression"),
        ("id = ?", "one expression"),
        ("true", "names no column"),
        ("user_id = 'x'", "no column user_id"),
        ("erasing.id = 'x'", "no column erasing"),
        ("id = current_user", "no column current_user"),
        ("n", "true or false, and is BIGINT"),
        ("n IN (SELECT 1)", "subquery"),
        ("id IN (SELECT content FROM read_text('/etc/passwd'))", "may be made of columns"),
        ("id = getenv('HOME')", "getenv is no function"),
        ("ts < now()", "now is no function"),
        ("random() < n", "random is no function"),
        ("count(*) > n", "no function"),
        ("row_number() OVER () = n", "window"),
        ("nextval('lake') = n", "nextval is no function"),
    ],
)
def test_what_is_more_than_a_condition_on_columns_is_refused(predicate: str, reason: str) -> None:
    with pytest.raises(PredicateInvalid, match=reason):
        check_predicate(predicate, DATED, SCHEMA)


def test_a_conversion_that_cannot_obey_a_request_fails(tmp_path: Path) -> None:
    store, manifest = land(tmp_path, {"a.ndjson": json.dumps(FULL).encode()})
    with pytest.raises(PredicateInvalid, match="no column gone"):
        converted(tmp_path, store, manifest, Erasure(1, "gone = 1", 9))
    unconcerned = replace(Erasure(1, "gone = 1", 9), last_file_id=0)
    assert rows_in(*converted(tmp_path, store, manifest, unconcerned)).total() == 1
