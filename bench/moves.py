"""Measures publishing and archiving of objects in S3 against a loop of boto3, in one run that prints ratios.

    python -m bench.moves [--objects 5000] [--latency-ms 10] [--rounds 1] [--server slow]

S3 is a server in a process of its own on this machine. `slow` answers any number of requests side by side, each after
the latency; `moto` has no latency and one core, so that its own work is what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO

from bench.tables import Sheet
from lake_pipeline.aws_local.server import environment

_DRIVERS = Path(__file__).parent / "drivers"
_STEPS = ("publish", "archive")
_TARGET = 4.0


def main() -> int:
    options = _options()
    seconds: dict[tuple[str, str], list[float]] = {}
    requests: dict[str, dict[str, int]] = {}
    for _ in range(options.rounds):
        for peer in ("store", "loop"):
            with _s3(options.server, options.latency_ms / 1000) as (url, counts):
                for step, took in _move(peer, options.objects, url).items():
                    seconds.setdefault((peer, step), []).append(took)
            requests[peer] = counts
    print(_sheet(options, seconds).markdown())
    print(f"\nrequests, those included that land and look at the objects: {json.dumps(requests)}")
    return 0


def _move(peer: str, objects: int, url: str) -> dict[str, float]:
    command = [sys.executable, str(_DRIVERS / "move_objects.py"), peer, str(objects)]
    done = subprocess.run(command, env=os.environ | environment(url), stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


@contextmanager
def _s3(kind: str, latency: float) -> Iterator[tuple[str, dict[str, int]]]:
    """The URL of a server, and the requests that it answered once it has ended."""
    command = [sys.executable, str(_DRIVERS / "s3_server.py"), kind, str(latency)]
    counts: dict[str, int] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        told, asked = _pipes(server)
        yield told.readline().strip(), counts
        asked.close()
        counts |= json.loads(told.readline())


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdout is not None
    assert process.stdin is not None
    return process.stdout, process.stdin


def _sheet(options: argparse.Namespace, seconds: dict[tuple[str, str], list[float]]) -> Sheet:
    latency = f"each answer after {options.latency_ms:g} ms" if options.server == "slow" else "no latency"
    rows = []
    for step in _STEPS:
        store, loop = median(seconds["store", step]), median(seconds["loop", step])
        verdict = "PASS" if loop / store >= _TARGET else "FAIL"
        rows.append([step, f"{store:.1f}", f"{loop:.1f}", f"{loop / store:.1f}", f"at least {_TARGET:g}", verdict])
    return Sheet(
        f"{options.objects:,} objects, {options.server} server, {latency}, rounds: {options.rounds}",
        ["step", "store s", "boto3 loop s", "ratio", "target", ""],
        rows,
        frozenset({"store s", "boto3 loop s", "ratio"}),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.moves", description="Compare publishing and archiving in S3 with a loop of boto3."
    )
    parser.add_argument("--objects", type=int, default=5000, help="how many (default: 5000)")
    parser.add_argument(
        "--latency-ms", type=float, default=10.0, help="of each answer of the slow server (default: 10)"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each runs (default: 1)")
    parser.add_argument("--server", choices=("slow", "moto"), default="slow", help="default: slow")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
