"""Builds what a Glue job needs: a zip of wheels, the script, and the job's definition.

    python -m infra.glue_bundle --store s3://bucket/prefix dist

The archive is a "zip of wheels" (AWS Glue developer guide, "Using Python libraries with AWS Glue", appendix A; Glue 5.0
and later): `wheels/` with a requirements.txt, installed by pip with --no-index, so a job in a VPC needs no internet.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from lake_pipeline import __version__

ROOT = Path(__file__).parents[1]
# Glue 5.1: Python 3.11 on Amazon Linux 2023, whose glibc is 2.34.
_TARGET = ["--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:"]
_TARGET += [option for abi in ("cp311", "abi3", "none") for option in ("--abi", abi)]
_TARGET += [
    option
    for platform in ("manylinux_2_34", "manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
    for option in ("--platform", f"{platform}_x86_64")
]
_EXTRA = re.compile(r"""Requires-Dist: (?P<requirement>[^;]+); extra == ["']glue["']""")


def build(target: Path, store: str) -> Path:
    """Fill `target` with the archive, `convert.py` and `glue-job.json`; the archive's path.

    Raises:
        subprocess.CalledProcessError: pip failed; what it said was printed.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, str(_sources(wheels / "source")))
        (own,) = wheels.glob("lake_pipeline-*.whl")
        requirements = keep_glue_requirements(own)
        _pip("download", *_TARGET, "--constraint", str(ROOT / "constraints.txt"), "--dest", folder, *requirements)
        archive = target / archive_name()
        _pack(sorted(wheels.glob("*.whl")), archive)
    script = target / "convert.py"
    script.write_bytes((ROOT / "glue_scripts/convert.py").read_bytes())
    (target / "glue-job.json").write_text(json.dumps(job(store, archive.name, script.name), indent=2) + "\n")
    return archive


def _sources(folder: Path) -> Path:
    """A copy of what is packaged: a build in the checkout would find there what earlier builds left."""
    for package in ("lake_pipeline", "glue_scripts"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def archive_name() -> str:
    """Of this release's archive."""
    return f"lake-pipeline-{__version__}.gluewheels.zip"


def job(store: str, archive: str, script: str, *, at_once: int = 3) -> dict[str, Any]:
    """The job, as `aws glue create-job --cli-input-json` takes it; a name and a role are still to be given.

    `at_once` runs go side by side: by default as many as a pool of dagster.yaml lets run.
    """
    place = f"{store.rstrip('/')}/glue"
    return {
        "GlueVersion": "5.1",
        "WorkerType": "G.1X",
        "NumberOfWorkers": 10,  # the most; with auto scaling a run has two at least
        "Timeout": 60,
        "MaxRetries": 0,  # the ledger counts attempts and tries again
        "ExecutionProperty": {"MaxConcurrentRuns": at_once},
        "Command": {"Name": "glueetl", "PythonVersion": "3", "ScriptLocation": f"{place}/{script}"},
        "DefaultArguments": {
            "--job-language": "python",
            "--additional-python-modules": f"{place}/{archive}",
            "--python-modules-installer-option": "--no-index",
            "--enable-auto-scaling": "true",
            "--enable-metrics": "true",
            "--enable-continuous-cloudwatch-log": "true",
        },
    }


def keep_glue_requirements(wheel: Path) -> list[str]:
    """Rewrite our wheel to require what the extra `glue` does, or pip would want Dagster too; those requirements."""
    with zipfile.ZipFile(wheel) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    (metadata,) = [name for name in members if name.endswith(".dist-info/METADATA")]
    lines = members[metadata].decode().splitlines()
    kept = [found["requirement"].strip() for line in lines if (found := _EXTRA.fullmatch(line))]
    others = [line for line in lines if not line.startswith(("Requires-Dist:", "Provides-Extra:"))]
    at = next(number for number, line in enumerate(others) if line.startswith("Requires-Python:")) + 1
    others[at:at] = [f"Requires-Dist: {requirement}" for requirement in kept]
    members[metadata] = "\n".join(others).encode() + b"\n"
    record = metadata.replace("METADATA", "RECORD")
    members[record] = _recorded(members[record].decode(), metadata, members[metadata]).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as rewritten:
        for name, data in members.items():
            rewritten.writestr(name, data)
    return kept


def _recorded(record: str, name: str, data: bytes) -> str:
    """The wheel's list of files with a file's new hash and size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    entry = f"{name},sha256={digest},{len(data)}"
    return "".join(f"{entry if line.startswith(name) else line}\n" for line in record.splitlines())


def _pack(wheels: list[Path], archive: Path) -> None:
    pins = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("wheels/requirements.txt", "\n".join(pins) + "\n")
        for wheel in wheels:
            packed.write(wheel, f"wheels/{wheel.name}")


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build what a Glue job installs.")
    parser.add_argument("target", type=Path, help="the folder to fill")
    parser.add_argument("--store", required=True, help="LAKE_STORE: the files are to lie in glue/ below it")
    options = parser.parse_args()
    print(build(options.target, options.store))


if __name__ == "__main__":
    main()
