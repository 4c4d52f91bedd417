"""Asks pip-audit whether a dependency in constraints.txt has a known vulnerability: python -m infra.audit.

One that is found fails. Where the vulnerability service cannot be asked, or knows nothing of a package, that is said
aloud and is no failure, for lint must work without a network. Arguments are pip-audit's, such as
`--vulnerability-service osv`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# Vulnerabilities that were looked at and do not reach this package, each by its id with the reason.
IGNORED: dict[str, str] = {}
_SECONDS = 180


def audit(arguments: list[str], constraints: Path = CONSTRAINTS) -> int:
    """The exit code, after saying what was found."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    for vulnerability in IGNORED:
        command += ["--ignore-vuln", vulnerability]
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return _not_audited(f"no answer in {_SECONDS} s")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return _not_audited((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
    return _judge(packages)


def _judge(packages: list[dict[str, Any]]) -> int:
    found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", [])]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}", file=sys.stderr)
    if found:
        print("raise these in setup.py and constraints.txt, or give a reason in infra/audit.py", file=sys.stderr)
        return 1
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        return _not_audited(f"the service knows nothing of {len(skipped)} of {len(packages)} packages: {skipped[0]}, …")
    print(f"{len(packages)} dependencies have no known vulnerability")
    return 0


def _not_audited(reason: str) -> int:
    print(f"WARNING: THE DEPENDENCIES WERE NOT AUDITED: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(audit(sys.argv[1:]))
