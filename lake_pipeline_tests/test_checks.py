"""Declared checks: evaluated on every row before it is published, shown in Dagster, blocking where declared so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from lake_pipeline.checks import Checks
from lake_pipeline.defs.instance import open_instance
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored

CURATED = dg.AssetKey(["events", "curated"])
CASES: dict[str, tuple[dict[str, Any], int]] = {
    # declared, and how many of the four rows below offend
    "required": ({"required": ["id", "owner"]}, 2),
    "unique": ({"unique": ["id", "mode"]}, 2),
    "ranges": ({"ranges": {"distance": {"min": 0, "max": 100}, "date": {"max": "2026-02-27"}}}, 2),
    "patterns": ({"patterns": {"id": "^e[0-9]$"}}, 1),
    "near": ({"sql": {"near": "distance is null or distance < 50"}}, 1),
}
ROWS = [
    event(1, distance=5, owner="a"),
    event(1, distance=-1, owner="b"),
    event(2, mode="car", day=28),
    event(33, mode="car", distance=50),
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("blocking", [False, True])
def test_a_check_finds_the_rows_that_offend_and_blocks_where_declared_so(
    name: str, blocking: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    checks, offending = CASES[name]
    declaration = EVENTS | {
        "checks": checks | ({"blocking": [name]} if blocking else {}),
        "batch": {"max_retries": 1},
    }
    with lake_of(monkeypatch, tmp_path, database_url, declaration) as lake:
        land(lake, "raw/a.json", *ROWS)
        run(lake)

        with open_instance(lake.settings) as instance:
            (record,) = instance.event_log_storage.get_latest_asset_check_execution_by_key(
                [dg.AssetCheckKey(CURATED, name)]
            ).values()
        assert record.event is not None
        evaluation = record.event.asset_check_evaluation
        assert evaluation is not None
        assert not evaluation.passed
        assert evaluation.metadata["offending rows"].value == offending
        assert "e1" in str(evaluation.metadata["sample"].value) or name in ("patterns", "near", "required")
        if blocking:
            (file,) = lake.ledger.files("events")
            assert file.status == "FAILED"
            assert f"{name}: {offending} rows offend" in (file.error_message or "")
            assert stored(lake, "curated/") == []
            assert stored(lake, "raw/") == ["raw/a.json"]
        else:
            assert states(lake) == {"raw/a.json": "SUCCEEDED"}
            assert rows(lake, "select count(*) from events") == [(4,)]


def test_rows_that_keep_the_rules_pass_every_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    checks = {
        "required": ["id"],
        "unique": ["id"],
        "row_count": {"min": 2, "max": 2},
        "ranges": {"distance": {"min": 0}},
        "patterns": {"mode": "bike|car"},
        "sql": {"dated": "date >= '2026-02-01'"},
        "blocking": ["required", "unique", "row_count", "ranges", "patterns", "dated"],
    }
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS | {"checks": checks}) as lake:
        land(lake, "raw/a.json", event(1, distance=0), event(2, mode="car"))
        run(lake)
        assert states(lake) == {"raw/a.json": "SUCCEEDED"}
        with open_instance(lake.settings) as instance:
            names = ["rows_conserved", "required", "unique", "row_count", "ranges", "patterns", "dated"]
            found = instance.event_log_storage.get_latest_asset_check_execution_by_key(
                [dg.AssetCheckKey(CURATED, name) for name in names]
            )
    evaluations = [record.event.asset_check_evaluation for record in found.values() if record.event]
    assert [evaluation.passed for evaluation in evaluations if evaluation] == [True] * len(names)


@pytest.mark.parametrize(
    "expression", ["length(read_text('/etc/passwd')) > 0", "(select count(*) from '/etc/passwd') > 0", "nonsense("]
)
def test_an_expression_may_look_at_the_rows_and_at_nothing_else(
    expression: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    declaration = EVENTS | {"checks": {"sql": {"sly": expression}}, "batch": {"max_retries": 1}}
    with lake_of(monkeypatch, tmp_path, database_url, declaration) as lake:
        land(lake, "raw/a.json", event(1))
        run(lake)
        (file,) = lake.ledger.files("events")
    assert file.status == "FAILED"
    assert "checks.sly" in (file.error_message or "")


def test_a_blocking_name_that_is_no_check_is_refused() -> None:
    with pytest.raises(ValidationError, match="no check of this dataset"):
        Checks.model_validate({"required": ["id"], "blocking": ["unique"]})
