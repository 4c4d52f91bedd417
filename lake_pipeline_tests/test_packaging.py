"""The package: what the wheel carries, what it asks for, and the files beside it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import psycopg
import pytest
import yaml
from dagster import DagsterInstance
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import lake_pipeline

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel of a copy of the sources, so that building leaves nothing in the checkout."""
    work = tmp_path_factory.mktemp("wheel")
    for folder in ("lake_pipeline", "glue_scripts"):
        shutil.copytree(ROOT / folder, work / "source" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, work / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    built = subprocess.run([*command, "-w", work, work / "source"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(work.glob("*.whl"))) as opened:
        yield opened


def metadata(wheel: zipfile.ZipFile) -> dict[str, list[str]]:
    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    headers = Parser().parsestr(wheel.read(name).decode()).items()
    return {key: [value for other, value in headers if other == key] for key, _ in headers}


def requirements(wheel: zipfile.ZipFile) -> list[Requirement]:
    return [Requirement(text) for text in metadata(wheel)["Requires-Dist"]]


def test_the_wheel_carries_every_module_and_data_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for folder in ("lake_pipeline", "glue_scripts")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sql", ".yaml", ".mako", ".geojson") and "__pycache__" not in path.parts
    }
    assert {
        "lake_pipeline/dagster.yaml",
        "lake_pipeline/datasets/events.yaml",
        "lake_pipeline/datasets/sensor_readings.yaml",
        "glue_scripts/convert.py",
    } <= expected
    assert any(name.endswith(".sql") for name in expected)
    carried = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert carried == expected


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    said = metadata(wheel)
    assert said["Name"] == ["lake-pipeline"]
    assert said["Version"] == [lake_pipeline.__version__]
    assert said["License-Expression"] == ["Apache-2.0"]
    assert set(said["Requires-Python"][0].split(",")) == {">=3.11", "<3.14"}
    assert set(said["Provides-Extra"]) == {"aws-local", "bench", "dev", "glue", "infra", "spark"}
    names = wheel.namelist()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    entry_points = next(name for name in names if name.endswith("/entry_points.txt"))
    assert "lake = lake_pipeline.cli:main" in wheel.read(entry_points).decode()


def test_every_requirement_is_bounded_and_the_tested_set_satisfies_all_of_them(wheel: zipfile.ZipFile) -> None:
    tested = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            tested[canonicalize_name(name)] = Version(version)
    for requirement in requirements(wheel):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {"=="} or {">=", "<"} <= operators, f"{requirement} has no upper and lower bound"
        if canonicalize_name(requirement.name) != "setuptools":  # pip freeze leaves it out
            assert tested[canonicalize_name(requirement.name)] in requirement.specifier


def test_whatever_the_package_imports_is_required(wheel: zipfile.ZipFile) -> None:
    required: set[str] = {
        canonicalize_name(item.name) for item in requirements(wheel) if 'extra == "dev"' not in str(item)
    }
    required |= {"psycopg-pool"}  # psycopg[pool]
    distributions = packages_distributions()
    missing = set()
    for path in [*(ROOT / "lake_pipeline").rglob("*.py"), *(ROOT / "glue_scripts").rglob("*.py")]:
        for module in imported(path):
            top = module.split(".")[0]
            if top not in sys.stdlib_module_names and top not in ("lake_pipeline", "glue_scripts"):
                names = {canonicalize_name(name) for name in distributions.get(top, [top])}
                if not names & required:
                    missing.add(f"{path.relative_to(ROOT)} imports {module}")
    assert missing == set()


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_only_orchestration_imports_dagster() -> None:
    offenders = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in ("lake_pipeline", "glue_scripts")
        for path in (ROOT / folder).rglob("*.py")
        for module in imported(path)
        if re.match(r"dagster(?!_pipes)", module)
        and path.relative_to(ROOT).as_posix() != "lake_pipeline/definitions.py"
        and (ROOT / "lake_pipeline/defs") not in path.parents
    ]
    assert offenders == []


def test_no_module_is_longer_than_one_idea_takes() -> None:
    folders = ("lake_pipeline", "glue_scripts", "infra", "bench", "docs")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_the_two_dagster_yaml_files_are_one() -> None:
    assert (ROOT / "dagster.yaml").read_bytes() == (ROOT / "lake_pipeline/dagster.yaml").read_bytes()


def test_dagster_loads_the_instance_on_postgres(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    monkeypatch.setenv("LAKE_DAGSTER_DATABASE_URL", empty_database_url.replace("postgresql:", "postgresql+psycopg2:"))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("events", ["2026-week07.0001"])
        assert instance.get_dynamic_partitions("events") == ["2026-week07.0001"]
        assert instance.telemetry_enabled is False
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 3
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == 5
    with psycopg.connect(empty_database_url) as connection:
        count = connection.execute("SELECT count(*) FROM dynamic_partitions").fetchone()
    assert count == (1,)


def test_the_workspace_names_the_code_location() -> None:
    (entry,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"]["module_name"] == "lake_pipeline.definitions"


def test_pytest_treats_warnings_as_errors() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"][0] == "error"


def test_make_help_lists_every_target_with_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", shown, re.MULTILINE))
    assert {
        "setup",
        "demo",
        "test",
        "test-slow",
        "lint",
        "format",
        "dev",
        "bench",
        "browser",
        "constraints",
        "glue-bundle",
        "synth",
    } <= targets
    assert set(listed) == targets


def test_continuous_integration_runs_the_make_test_of_the_readme() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().rstrip().endswith("make browser test")
