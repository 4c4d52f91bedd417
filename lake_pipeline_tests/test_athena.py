"""`lake query` through Athena: typed rows, pages, reasons, costs, and no query that runs on after Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lake_pipeline.aws import client
from lake_pipeline.catalog.athena_types import from_text
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.errors import QueryError, SettingsError
from lake_pipeline.settings import Settings, load_settings
from lake_pipeline.store import Store
from lake_pipeline_tests.aws_lakes import Aws, aws_of, database
from lake_pipeline_tests.command_line import LakeCommand

FOREVER = "select count(*) from " + " cross join ".join(f"unnest(sequence(1, 10000)) {name}(n)" for name in "abcde")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with aws_of(monkeypatch) as opened:
        yield opened


@pytest.fixture
def settings(aws: Aws) -> Settings:  # noqa: ARG001
    return load_settings()


def ask(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    return list(catalog_of(settings).query(settings, sql).rows)


def test_values_have_the_types_of_their_columns(settings: Settings) -> None:
    answer = catalog_of(settings).query(
        settings,
        "select 1 as n, cast(9007199254740993 as bigint) as big, 0.5e0 as x, true as ok, 'a, \"b\"' as text,"
        " '' as empty, cast(null as varchar) as nothing, date '2026-02-03' as day,"
        " timestamp '2026-02-03 10:00:00.123' as ts, cast('1.50' as decimal(12,2)) as price, array[1, 2] as list",
    )
    assert answer.names == ["n", "big", "x", "ok", "text", "empty", "nothing", "day", "ts", "price", "list"]
    assert list(answer.rows) == [
        (
            1,
            9007199254740993,
            0.5,
            True,
            'a, "b"',
            "",
            None,
            date(2026, 2, 3),
            datetime(2026, 2, 3, 10, 0, 0, 123000, UTC),
            Decimal("1.50"),
            "[1, 2]",
        )
    ]
    assert answer.cost.startswith("0.00 MB scanned in ")


def test_text_of_athena_is_read_whatever_its_type() -> None:
    assert from_text("2026-02-03 10:00:00.000 UTC", "timestamp with time zone") == datetime(2026, 2, 3, 10, tzinfo=UTC)
    assert str(from_text("NaN", "double")) == "nan"
    assert from_text("Infinity", "real") == float("inf")
    assert from_text("{a=1}", "row") == "{a=1}"
    assert from_text(None, "bigint") is None


def test_an_answer_of_many_pages_is_whole_and_in_order(settings: Settings) -> None:
    numbers = ask(settings, "select n from unnest(sequence(1, 2500)) as t(n) order by n")
    assert numbers == [(number,) for number in range(1, 2501)]


def test_athenas_reason_is_quoted_with_the_querys_id(settings: Settings) -> None:
    client("glue").create_database(DatabaseInput={"Name": database()})
    with pytest.raises(
        QueryError, match=r"TABLE_NOT_FOUND: .*'awsdatacatalog\..+\.nonesuch' does not exist \(Athena query .+ FAILED\)"
    ):
        ask(settings, "select * from nonesuch")
    with pytest.raises(QueryError, match="mismatched input"):
        ask(settings, "select from where")


def test_what_keeps_a_query_from_being_asked_is_one_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(SettingsError, match="You must specify a region"):
        ask(settings, "select 1")


@pytest.mark.usefixtures("aws")
def test_an_answer_is_given_again_only_where_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []
    for minutes in ("0", "0", "5"):
        monkeypatch.setenv("LAKE_ATHENA_REUSE_MINUTES", minutes)
        settings = load_settings()
        answer = catalog_of(settings).query(settings, "select 1 as n")
        assert list(answer.rows) == [(1,)]
        costs.append("given again" in answer.cost)
    assert costs == [False, False, True]


def test_the_answer_is_kept_where_the_workgroup_can_write(aws: Aws, settings: Settings) -> None:
    ask(settings, "select 1 as n")
    (execution,) = aws.athena.executions
    assert Store(aws.store).get(f"_athena/{execution}.csv") == b'"n"\r\n"1"\r\n'


def test_lake_query_prints_rows_and_what_they_cost_beside_them(aws: Aws, tmp_path: Path) -> None:
    lake = LakeCommand(tmp_path, {"LAKE_STORE": aws.store})
    done = lake("query", "select 1 as n, 'a' as t", "--json")
    assert done.stdout == '{"n":1,"t":"a"}\n'
    assert "0.00 MB scanned in" in done.stderr


def running(aws: Aws) -> str:
    """The id of the query that is running, once one is."""
    while True:
        for execution in list(aws.athena.executions.values()):
            if execution.state == "RUNNING":
                return execution.id
        time.sleep(0.05)


def test_ctrl_c_stops_the_query_in_athena(aws: Aws, tmp_path: Path) -> None:
    process = LakeCommand(tmp_path, {"LAKE_STORE": aws.store}).start("query", FOREVER)
    started = running(aws)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert aws.athena.executions[started].state == "CANCELLED"
    assert process.returncode != 0


def test_a_query_that_someone_stopped_says_so(aws: Aws, settings: Settings) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, settings, FOREVER)
        client("athena").stop_query_execution(QueryExecutionId=running(aws))
        with pytest.raises(QueryError, match="CANCELLED"):
            asked.result(timeout=60)
