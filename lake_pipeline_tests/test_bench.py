"""The benchmark's quick form, on a few megabytes: every peer writes the same rows. No time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.output import Output, check_equal
from bench.plots import draw, relative
from lake_pipeline.errors import ConservationError

ROOT = Path(__file__).parents[1]


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LAKE_", "DAGSTER_"))}
    command = [sys.executable, "-m", "bench.convert", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_quick_run_finds_the_same_rows_in_every_output_and_leaves_nothing_behind(short_dir: Path) -> None:
    report = short_dir / "report.json"
    scratch = short_dir / "scratch"
    scratch.mkdir()
    peers = "lake,kernel,duckdb,polars"
    options = ["--case", "files", "--size", "3MB", "--peers", peers, "--json", str(report), "--scratch", str(scratch)]
    ran = _bench("--quick", *options)
    assert ran.returncode == 0, ran.stderr
    assert list(scratch.iterdir()) == []
    measured = json.loads(report.read_text())
    outputs = {trial["peer"]: trial["output"] for trial in measured["trials"]}
    assert sorted(outputs) == sorted(peers.split(","))
    assert len({output["rows"] for output in outputs.values()}) == 1
    assert len({output["digest"] for output in outputs.values()}) == 1
    assert outputs["lake"]["rows"] > 8000
    assert {ratio["name"] for ratio in measured["ratios"]} >= {
        "polars / lake, wall-clock",
        "lake's conversion / bare DuckDB's query",
    }
    assert "| lake |" in ran.stdout  # the Markdown table
    for trial in measured["trials"]:
        assert trial["usage"]["wall_seconds"] > 0
        assert trial["usage"]["cpu_seconds"] > 0


@pytest.mark.slow
def test_every_kind_of_files_comes_out_as_bare_duckdb_writes_it(short_dir: Path) -> None:
    report = short_dir / "report.json"
    ran = _bench("--quick", "--size", "2MB", "--peers", "kernel,duckdb", "--json", str(report))
    assert ran.returncode == 0, ran.stderr
    trials = json.loads(report.read_text())["trials"]
    cases = dict.fromkeys(trial["case"] for trial in trials)
    assert list(cases) == ["files", "small", "one", "gz", "arrays", "wide", "dirty"]
    for case in cases:
        outputs = [trial["output"] for trial in trials if trial["case"] == case]
        assert len(outputs) == 2
        assert len({(output["rows"], output["digest"]) for output in outputs}) == 1


def test_objects_are_published_and_archived_with_the_requests_that_the_docs_say() -> None:
    arguments = ["--objects", "30", "--latency-ms", "1"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LAKE_", "AWS_"))}
    command = [sys.executable, "-m", "bench.moves", *arguments]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "**30 objects, slow server, each answer after 1 ms, rounds: 1**" in ran.stdout
    requests = json.loads(ran.stdout.partition("{")[1] + ran.stdout.partition("{")[2])
    # One to see each, one to look at its target, three to look what became of it; the loop looks at no target.
    assert requests["store"] == {"PUT": 31, "HEAD": 5 * 30, "COPY": 60, "DELETE MANY": 1}
    assert requests["loop"] == {"PUT": 31, "HEAD": 4 * 30, "COPY": 60, "DELETE": 30}


def test_help_names_every_case_and_peer() -> None:
    told = _bench("--help")
    assert told.returncode == 0, told.stderr
    assert "5 % of the records" in " ".join(told.stdout.split())
    assert "naive_spark" in told.stdout


def test_unknown_peer_case_and_unreadable_size_are_refused_by_name() -> None:
    peer = _bench("--peers", "lake,excel")
    assert peer.returncode == 2
    assert "'excel' is none of lake" in peer.stderr
    case = _bench("--case", "csv")
    assert case.returncode == 2
    assert "'csv'" in case.stderr
    size = _bench("--size", "huge")
    assert size.returncode == 2
    assert "'huge' is not a size" in size.stderr


def test_lost_row_and_changed_value_are_refused() -> None:
    good = Output(rows=2, files=1, bytes=9, ids="3", digest="5")
    check_equal("a", good, 2, {"b": good})
    with pytest.raises(ConservationError, match="a wrote 1 rows of 2 records"):
        check_equal("a", Output(1, 1, 9, "3", "5"), 2, {})
    with pytest.raises(ConservationError, match="a and b wrote different values"):
        check_equal("a", Output(2, 1, 9, "3", "6"), 2, {"b": good})


@pytest.mark.slow
def test_the_ledgers_benchmark_measures_each_size_and_its_peer(short_dir: Path) -> None:
    report = short_dir / "report.json"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LAKE_", "DAGSTER_"))}
    sizes = ["--sizes", "1k,4k", "--new", "1k", "--pending", "2k", "--manifest-files", "500", "--workers", "2"]
    command = [sys.executable, "-m", "bench.ledger", *sizes, "--json", str(report), "--scratch", str(short_dir)]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    measured = json.loads(report.read_text())
    assert [size["files"] for size in measured["sizes"]] == [1000, 4000]
    for size in measured["sizes"]:
        assert all(size[name] > 0 for name in size if name not in ("bytes_by_table", "shrinking"))
    assert measured["tick"] > 0
    refused = subprocess.run([*command, "--sizes", "1k,3k"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert "after 1,000 files and twice 1,000 new ones there are 3,000 already" in refused.stderr


def test_what_was_measured_is_drawn_and_the_same_figures_are_the_same_file(tmp_path: Path) -> None:
    trials = [
        {"case": case, "peer": peer, "usage": {"wall_seconds": seconds, "cpu_seconds": 2 * seconds}}
        for case, peer, seconds in (
            ("files", "duckdb", 2.0),
            ("files", "duckdb", 4.0),
            ("files", "lake", 6.0),
            ("gz", "duckdb", 1.0),
            ("gz", "lake", 5.0),
            ("arrays", "lake", 5.0),
        )
    ]
    assert relative(trials, "cpu_seconds") == {
        "files": {"duckdb": 1.0, "lake": 2.0},
        "gz": {"duckdb": 1.0, "lake": 5.0},
    }
    sizes = [
        {"files": files, "listing": 5e4, "claim_p50": 0.1, "claim_p99": 0.2, "table_bytes": 200.0, "index_bytes": 90.0}
        for files in (10_000, 1_000_000)
    ]
    (tmp_path / "convert.json").write_text(json.dumps({"trials": trials}))
    (tmp_path / "ledger.json").write_text(json.dumps({"sizes": sizes}))

    drawn = draw(tmp_path, tmp_path)

    assert [path.name for path in drawn] == ["bench-convert.svg", "bench-ledger.svg"]
    first = [path.read_bytes() for path in drawn]
    assert all(b"<svg" in content for content in first)
    assert [path.read_bytes() for path in draw(tmp_path, tmp_path)] == first
