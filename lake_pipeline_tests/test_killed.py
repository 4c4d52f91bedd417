"""Real processes killed at work: the next run ends with the same rows, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from lake_pipeline.defs.instance import open_instance
from lake_pipeline.lake import Lake
from lake_pipeline_tests.killing import kill_when, start_run
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored

RECORDS = 40_000


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    yield from full_lake(monkeypatch, tmp_path, database_url, "")


@pytest.fixture
def lake_on_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str) -> Iterator[Lake]:
    yield from full_lake(monkeypatch, tmp_path, database_url, s3_url)


def full_lake(monkeypatch: pytest.MonkeyPatch, home: Path, database_url: str, store: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, home, database_url, EVENTS, store=store) as opened:
        for file in range(4):
            land(
                opened,
                f"raw/2026/week07/{file}.json",
                *(event(number, day=number % 28 + 1) for number in range(file, RECORDS, 4)),
            )
        yield opened


def running(lake: Lake) -> bool:
    return any(manifest.state == "RUNNING" for manifest in lake.ledger.manifests("events"))


def staged(lake: Lake) -> bool:
    return bool(stored(lake, "_staging/"))


def published(lake: Lake) -> bool:
    return bool(stored(lake, "curated/"))


def committed(lake: Lake) -> bool:
    return any(manifest.state == "COMMITTED" for manifest in lake.ledger.manifests("events"))


def archived(lake: Lake) -> bool:
    return bool(stored(lake, "archive/"))


@pytest.mark.parametrize("moment", [running, staged, published, committed])
def test_a_run_killed_at_work_loses_nothing_and_doubles_nothing(lake: Lake, moment: Callable[[Lake], bool]) -> None:
    check_killed_when(lake, moment)


@pytest.mark.parametrize(
    "moment", [pytest.param(staged, marks=pytest.mark.slow), published, pytest.param(archived, marks=pytest.mark.slow)]
)
def test_a_run_on_s3_killed_at_work_loses_nothing_and_doubles_nothing(
    lake_on_s3: Lake, moment: Callable[[Lake], bool]
) -> None:
    check_killed_when(lake_on_s3, moment)


def check_killed_when(lake: Lake, moment: Callable[[Lake], bool]) -> None:
    kill_when(lambda: moment(lake), start_run("events"))

    assert start_run("events").wait(timeout=120) == 0

    assert rows(lake, "select count(*), count(distinct id) from events") == [(RECORDS, RECORDS)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert stored(lake, "raw/") == []
    assert len(stored(lake, "archive/")) == 4
    assert stored(lake, "_staging/") == []
    committed_paths = {output.path for output in lake.ledger.committed_outputs("events")}
    assert set(stored(lake, "curated/")) == committed_paths


def test_a_killed_runs_record_does_not_stay_under_way(lake: Lake) -> None:
    kill_when(lambda: running(lake), start_run("events"))
    with open_instance(lake.settings) as instance:
        under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
        assert instance.get_runs_count(under_way) == 1

    assert start_run("events").wait(timeout=120) == 0

    with open_instance(lake.settings) as instance:
        assert instance.get_runs_count(under_way) == 0
        assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])) == 1


def test_two_runs_at_once_share_the_work_and_double_nothing(lake: Lake) -> None:
    first, second = start_run("events"), start_run("events")

    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0)

    assert rows(lake, "select count(*), count(distinct id) from events") == [(RECORDS, RECORDS)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}
