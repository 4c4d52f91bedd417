"""A lake under attack for minutes: every source record of the last version of each key is in the tables, once."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from lake_pipeline.aws_local.server import environment
from lake_pipeline.failpoints import POINTS
from lake_pipeline.ledger.embedded import EmbeddedPostgres, attach
from lake_pipeline_tests.chaos.checker import check
from lake_pipeline_tests.chaos.generator import COPIES, EVENTS, PREFIXES, Generator
from lake_pipeline_tests.chaos.journal import Journal
from lake_pipeline_tests.chaos.killer import Killer
from lake_pipeline_tests.chaos.objects import DirectoryObjects, Objects, S3Objects
from lake_pipeline_tests.chaos.workers import LAKE, Workers

SECONDS = float(os.environ.get("LAKE_CHAOS_SECONDS", "600"))
SEED = os.environ.get("LAKE_CHAOS_SEED", "")
# A landing of one of the two generators, on average, takes so long.
PAUSE_SECONDS = 0.5
# Reached by a queue's messages, or in S3 only.
ELSEWHERE = {"discovery.received", "discovery.told", "archive.copied"}
BATCH = {"max_files": 40, "max_wait": 0, "max_retries": 1000}
DECLARATIONS: list[dict[str, Any]] = [
    {
        "name": EVENTS,
        "source": {"prefix": PREFIXES[EVENTS], "format": "ndjson", "group": "{year}/{week}/"},
        "batch": BATCH,
        "schema": {"flatten": {"rename": {"DATE": "date", "MODE": "mode"}}},
        "output": {"prefix": "curated/", "partition_by": ["year(date)", "month(date)", "day(date)", "mode"]},
        "checks": {"required": ["id"]},
        "archive": {"action": "move", "prefix": "archive/"},
    },
    {
        "name": COPIES,
        "source": {"prefix": PREFIXES[COPIES], "format": "parquet", "group": "{year}/{week}/"},
        "batch": BATCH,
        "output": {"prefix": "curated-copies/", "format": "json", "files": "one_to_one"},
        "archive": {"action": "move", "prefix": "archive-copies/"},
    },
]


@pytest.fixture
def postgres(short_dir: Path) -> Iterator[EmbeddedPostgres]:
    """The lake's own embedded server, which forgets what it is told when the machine stops, but not when killed."""
    server = attach(short_dir)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    attach(short_dir).release()


@pytest.mark.slow
@pytest.mark.usefixtures("postgres")
def test_what_landed_is_in_the_tables_once_whatever_was_killed(
    short_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = DirectoryObjects(short_dir / "store", short_dir / "aside")
    report = attack(short_dir, lake_environment(short_dir), objects, SECONDS, set(POINTS) - ELSEWHERE)
    with capsys.disabled():
        print(report)


@pytest.mark.slow
@pytest.mark.usefixtures("postgres")
def test_what_landed_in_s3_is_in_the_tables_once_whatever_was_killed(
    short_dir: Path, aws_url: str, s3_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = environment(aws_url) | {"LAKE_STORE": s3_url, "LAKE_CATALOG": "duckdb"}
    points = set(POINTS) - ELSEWHERE | {"archive.copied"}
    report = attack(short_dir, lake_environment(short_dir) | aws, S3Objects(s3_url, aws), SECONDS / 5, points)
    with capsys.disabled():
        print(report)


def lake_environment(home: Path) -> dict[str, str]:
    """What the lake's processes are told; nothing that this process's environment says of another lake."""
    (home / "datasets").mkdir()
    for declaration in DECLARATIONS:
        (home / "datasets" / f"{declaration['name']}.yaml").write_text(yaml.safe_dump(declaration))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LAKE_", "DAGSTER_"))}
    return inherited | {"LAKE_HOME": str(home), "LAKE_DATASETS": str(home / "datasets"), "LAKE_THREADS": "1"}


def attack(home: Path, variables: dict[str, str], objects: Objects, seconds: float, points: set[str]) -> str:
    """Land, work and kill for so long, let it run to its end, and compare; what it came to, in words."""
    seed = SEED or str(random.SystemRandom().randrange(10**6))
    journal = Journal()
    workers = Workers(home, variables, journal, seed, sorted(points))
    killer = Killer(seed, journal, workers, home / "postgres")
    generators = [Generator(name, seed, journal, objects, PAUSE_SECONDS) for name in ("a", "b")]
    try:
        for generator in generators:
            generator.start()
        next_strike = time.monotonic() + 5
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            workers.keep()
            if time.monotonic() >= next_strike:
                killer.strike()
                next_strike = time.monotonic() + killer.pause()
            time.sleep(0.05)
    finally:
        for generator in generators:
            generator.stop()
        workers.end()
    codes = drain(home, variables)
    problems = check(journal, objects, attach(home).url)
    if codes[-1]:
        problems.append(f"lake run ended with {codes}:\n{(home / 'logs' / 'drain.log').read_text()[-2000:]}")
    summary = (
        f"\nLAKE_CHAOS_SEED={seed} LAKE_CHAOS_SECONDS={seconds:g}: {len(journal.versions)} keys,"
        f" {journal.landings().total()} versions {dict(journal.landings())}\n{dict(journal.counts())}\n"
        f"armed {dict(sorted(workers.armed.items()))}\nreached {dict(sorted(workers.reached.items()))}\n"
        f"lake run afterwards ended with {codes}\n"
    )
    if problems:
        # Not pytest's directory, of which it keeps few.
        kept = Path(tempfile.mkdtemp(prefix="lake-chaos-"))
        for folder in ("store", "logs"):
            if (home / folder).exists():
                shutil.copytree(home / folder, kept / folder)
        problems.append(f"the store and the logs of the processes are kept in {kept}")
        pytest.fail("\n".join([*problems, summary, journal.schedule()]), pytrace=False)
    return summary


def drain(home: Path, variables: dict[str, str]) -> list[int]:
    """`lake run` until one has nothing to complain of, and once more; how each ended."""
    codes: list[int] = []
    while codes[-2:] != [0, 0] and len(codes) < 5:
        with (home / "logs" / "drain.log").open("ab") as log:
            codes.append(subprocess.run([*LAKE, "run"], env=variables, stdout=log, stderr=log, timeout=1200).returncode)
    return codes
