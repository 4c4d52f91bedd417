"""Measures `lake run` against what people would write in its place, in one run that prints ratios.

    python -m bench.convert [--case files --case small] [--size 1GB] [--peers lake,naive_spark,duckdb] [--rounds 3]
    python -m bench.convert --quick

Exit status 0 whether targets are reached or not; 1 where a peer failed or wrote other rows than its neighbours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape

from bench.cases import CASES, GB, Case, records_of
from bench.output import Output, check_equal
from bench.peers import DEFAULT, PEERS, Peer
from bench.ratios import ratios
from bench.tables import document, machine, sheets
from bench.trial import Trial, run_trial
from lake_pipeline.errors import LakeError, SettingsError


def main() -> int:
    signal.signal(signal.SIGTERM, _stopped)  # so that the scratch folder goes as well
    options = _options()
    progress = Console(stderr=True, highlight=False)
    try:
        peers = _chosen(options.peers, options.dlt_python, progress)
        with tempfile.TemporaryDirectory(prefix="lake-bench-", dir=options.scratch) as folder:
            trials = [
                trial
                for case in options.case
                for trial in measure(
                    case,
                    options.size,
                    _timely(peers, case, options),
                    options.rounds,
                    options.patience,
                    Path(folder),
                    progress,
                )
            ]
    except LakeError as error:
        progress.print(f"error: {escape(str(error))}", style="red")
        return 1
    found = ratios(trials)
    console = Console() if sys.stdout.isatty() else Console(width=140)
    made = sheets(trials, found)
    for sheet in made:
        sheet.print(console)
    print("Markdown:\n")
    print("\n\n".join(sheet.markdown() for sheet in made))
    print(f"\n{json.dumps(machine(trials))}")
    if options.json:
        options.json.write_text(json.dumps(document(trials, found), indent=1))
    return 0


def measure(
    case: Case, size: int, peers: list[Peer], rounds: int, patience: float, scratch: Path, progress: Console
) -> list[Trial]:
    """Every peer that can do it in turn, round by round, each round beginning with another one.

    `size` is what 1 GB of the case's bytes become.

    Raises:
        EngineError: a peer failed.
        ConservationError: a peer lost, doubled or changed a row.
    """
    folder = scratch / f"raw-{case.name}"
    raw = case.make(folder, case.bytes * size // GB)
    expected = records_of(case, raw)
    able = [peer for peer in peers if peer.name in case.peers]
    trials: list[Trial] = []
    outputs: dict[str, Output] = {}
    for number in range(1, rounds + 1):
        first = (number - 1) % len(able)
        for peer in [*able[first:], *able[:first]]:
            trial = run_trial(case, peer, raw, number, scratch, patience)
            check_equal(peer.name, trial.output, expected, outputs)
            outputs[peer.name] = trial.output
            trials.append(trial)
            used = trial.usage
            progress.print(
                f"{case.name}, {trial.size / 1e6:,.0f} MB, round {number}: {peer.name} {used.wall_seconds:.1f} s,"
                f" {used.cpu_seconds:.1f} CPU s; others used {used.others_cpu_seconds:.1f} CPU s meanwhile"
            )
    shutil.rmtree(folder)
    names = [peer.name for peer in able]
    return sorted(trials, key=lambda trial: names.index(trial.peer))


def _chosen(names: str | None, dlt_python: str, progress: Console) -> list[Peer]:
    """The peers asked for, or the default ones that are installed.

    Raises:
        SettingsError: one that was asked for is not.
    """
    peers = PEERS | {"dlt": replace(PEERS["dlt"], python=dlt_python)}
    if names:
        chosen = [peers[name] for name in names.split(",")]
        for peer in chosen:
            if not peer.installed:
                raise SettingsError(f"{peer.name} needs the package {peer.module}: pip install -e '.[bench]'")
        return chosen
    for name in DEFAULT:
        if not peers[name].installed:
            progress.print(f"{name} is left out: {peers[name].module} is not installed (pip install -e '.[bench]')")
    return [peers[name] for name in DEFAULT if peers[name].installed]


def _timely(peers: list[Peer], case: Case, options: argparse.Namespace) -> list[Peer]:
    """In the quick form without those that take most of its time, but for one case, unless they were asked for."""
    if not options.quick or options.peers or case.name == "files":
        return peers
    return [peer for peer in peers if peer.name not in ("naive_spark", "dlt")]


def _stopped(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _options() -> argparse.Namespace:
    listed = "; ".join(f"{case.name}: {case.bytes / GB:g} GB of {case.about}" for case in CASES.values())
    listed = listed.replace("%", "%%")  # which argparse would fill in
    parser = argparse.ArgumentParser(
        prog="python -m bench.convert",
        description="Compare lake run with what people would write in its place.",
        epilog="Peers: " + "; ".join(f"{peer.name} ({peer.about})" for peer in PEERS.values()),
    )
    parser.add_argument(
        "--case", action="append", choices=list(CASES), help=f"may be repeated; {listed}; default: all of them"
    )
    parser.add_argument("--size", type=_bytes, help="what each gigabyte of a case becomes, such as 100MB")
    parser.add_argument("--dlt-python", default="", metavar="PYTHON", help="a Python that has dlt, where this has not")
    parser.add_argument("--peers", type=_peers, help=f"default: {','.join(DEFAULT)}, where installed")
    parser.add_argument("--rounds", type=int, help="how often each peer runs (default: 3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a twentieth of each case, one round, and PySpark and dlt for the case files only",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long each run may wait for an idle machine",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument("--scratch", type=Path, metavar="FOLDER", help="where a temporary folder is made")
    options = parser.parse_args()
    options.case = [CASES[name] for name in options.case or CASES]
    options.size = options.size or (GB // 20 if options.quick else GB)
    options.patience = 0.0 if options.quick else options.patience
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _bytes(text: str) -> int:
    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 400MB") from None


def _peers(text: str) -> str:
    for name in text.split(","):
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PEERS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
