"""Every benchmark, one after the other, and plots of what they measured.

    python -m bench [--quick] [--out build/bench] [--images build/bench]

Each prints its tables; figures are kept as JSON below `--out`. Whole, it takes some hours on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench.plots import draw

_QUICK = {
    "convert": ["--quick"],
    "ledger": ["--quick"],
    "moves": ["--objects", "500"],
    "dagster_side": ["--quick"],
}


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    options.images.mkdir(parents=True, exist_ok=True)
    failed = [name for name in _QUICK if _run(name, options.out, quick=options.quick)]
    for path in draw(options.out, options.images):
        print(f"drawn: {path}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _run(name: str, out: Path, *, quick: bool) -> int:
    """Its exit status; what it prints goes to the terminal and, where that is its JSON, to a file."""
    print(f"\n== {name}", flush=True)
    command = [sys.executable, "-m", f"bench.{name}", *(_QUICK[name] if quick else [])]
    if name in ("convert", "ledger"):
        return subprocess.run([*command, "--json", str(out / f"{name}.json")], check=False).returncode
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    if name == "dagster_side":
        (out / f"{name}.json").write_text(done.stdout)
    return done.returncode


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run every benchmark and draw the figures.")
    parser.add_argument("--quick", action="store_true", help="small forms of all of them, in minutes")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="for JSON (default: %(default)s)")
    parser.add_argument("--images", type=Path, default=Path("build/bench"), help="for SVG (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
