"""What a Glue job installs: built, installed without a network beside pyspark alone, and run."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from dagster_pipes import encode_param

from infra.glue_bundle import build
from lake_pipeline.aws_local.server import environment
from lake_pipeline.engines.java import find_java_home
from lake_pipeline.engines.session import SparkOptions
from lake_pipeline.engines.task import Task, read_results
from lake_pipeline.kernel.results import Results
from lake_pipeline.manifests import Manifest, ManifestFile, write_manifest
from lake_pipeline.schemas import Schema
from lake_pipeline.store import Store
from lake_pipeline_tests.kernel_oracle import dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Glue 5.1 has Python 3.11, and so have the wheels"),
]
DECLARED = dataset(output={"partition_by": ["mode"]})
ROWS = 3000
LINES = b"".join(b'{"id": %d, "mode": "m%d", "inner": {"x": 0.5}}\n' % (n, n % 3) for n in range(ROWS))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make glue-bundle` fills."""
    target = tmp_path_factory.mktemp("dist")
    build(target, "s3://lake/prefix/")
    return target


@pytest.fixture(scope="module")
def bare(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment that holds the bundle and nothing else."""
    return installed(bundle, tmp_path_factory.mktemp("bare"))


def installed(bundle: Path, folder: Path) -> Path:
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    (archive,) = bundle.glob("*.gluewheels.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    wheels = folder / "wheels"
    pip(python, "--no-index", "--find-links", str(wheels), "-r", str(wheels / "requirements.txt"))
    return python


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def site_packages(python: Path) -> Path:
    return next(python.parents[1].glob("lib/python*/site-packages"))


def convert(
    python: Path, script: Path, root: Path, spark: SparkOptions | None, url: str = "", aws: dict[str, str] | None = None
) -> Results:
    """What the script made of a manifest, started as a Pipes client starts it, without this process's variables."""
    store = Store(url or str(root / "store"))
    landed = [store.put(f"raw/{name}.ndjson", LINES) for name in "ab"]
    files = (ManifestFile(number, item.key, item.etag, item.size, item.key) for number, item in enumerate(landed))
    manifest = Manifest("things", "g.0001", "g", tuple(files))
    write_manifest(store, DECLARED, manifest)
    declaration = DECLARED.model_dump(mode="json", by_alias=True)
    task = Task(declaration, manifest.manifest_id, 1, Schema().to_json(), store.url, 2, "1GiB")
    extras: dict[str, Any] = {"task": task.to_json()} | ({"spark": spark.to_json()} if spark else {})
    context, messages = root / "context.json", root / "messages.jsonl"
    context.write_text(json.dumps({"extras": extras, "run_id": "r", "job_name": "j", "retry_number": 0} | NOTHING))
    messages.touch()
    env = {
        "PATH": "/usr/bin:/bin",
        "JAVA_HOME": str(find_java_home(None)),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(python),
        "DAGSTER_PIPES_CONTEXT": encode_param({"path": str(context)}),
        "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(messages)}),
        **(aws or {}),
    }
    done = subprocess.run([str(python), str(script)], env=env, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert f"{2 * ROWS:,} rows staged" in messages.read_text()
    return read_results(store, task)


NOTHING = dict.fromkeys(
    (
        "asset_keys",
        "code_version_by_asset_key",
        "provenance_by_asset_key",
        "partition_key",
        "partition_key_range",
        "partition_time_window",
    )
)


def check(results: Results) -> None:
    assert [(file.key, file.status, file.rows_written) for file in results.files] == [
        ("raw/a.ndjson", "SUCCEEDED", ROWS),
        ("raw/b.ndjson", "SUCCEEDED", ROWS),
    ]
    assert [output.path for output in results.outputs] == [f"mode=m{n}/g.0001-a1-0.parquet" for n in range(3)]
    assert [column.name for column in results.schema.columns] == ["id", "mode", "inner_x"]


def test_the_archive_is_a_zip_of_wheels_that_pip_takes_without_an_index(bundle: Path) -> None:
    (archive,) = bundle.glob("*.gluewheels.zip")
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        pins = packed.read("wheels/requirements.txt").decode().split()
    wheels = {name.removeprefix("wheels/") for name in names if name.endswith(".whl")}
    assert {"==".join(wheel.split("-")[:2]) for wheel in wheels} == set(pins)
    assert all("x86_64" in wheel or "none-any" in wheel for wheel in wheels)
    assert not any(wheel.startswith(("dagster-", "pyspark", "psycopg", "sqlalchemy")) for wheel in wheels)
    assert any(wheel.startswith("lake_pipeline-") for wheel in wheels)


def test_the_job_names_the_files_that_lie_beside_it(bundle: Path) -> None:
    job = json.loads((bundle / "glue-job.json").read_text())
    arguments = job["DefaultArguments"]
    assert (job["GlueVersion"], job["WorkerType"]) == ("5.1", "G.1X")
    for uri in (job["Command"]["ScriptLocation"], arguments["--additional-python-modules"]):
        folder, _, name = uri.rpartition("/")
        assert folder == "s3://lake/prefix/glue"
        assert (bundle / name).is_file()
    assert arguments["--python-modules-installer-option"] == "--no-index"


def test_the_script_runs_where_neither_dagster_nor_pyspark_is(bare: Path, bundle: Path, tmp_path: Path) -> None:
    found = "import importlib.util as u; print([u.find_spec(name) for name in ('dagster', 'pyspark')])"
    assert subprocess.run([bare, "-I", "-c", found], capture_output=True, text=True).stdout.strip() == "[None, None]"
    check(convert(bare, bundle / "convert.py", tmp_path, None))


@pytest.mark.usefixtures("pyspark_beside")
def test_the_script_runs_on_spark_with_pyspark_alone_beside_the_bundle(
    bare: Path, bundle: Path, tmp_path: Path
) -> None:
    check(convert(bare, bundle / "convert.py", tmp_path, SparkOptions("local[2]", 16 * 2**10)))


@pytest.mark.usefixtures("pyspark_beside")
def test_the_bundle_holds_what_a_store_in_s3_needs(
    bare: Path, bundle: Path, tmp_path: Path, s3_url: str, aws_url: str
) -> None:
    options = SparkOptions("local[2]", 16 * 2**10)
    check(convert(bare, bundle / "convert.py", tmp_path, options, s3_url, environment(aws_url)))


@pytest.fixture
def pyspark_beside(bare: Path) -> Iterator[None]:
    """This environment's pyspark, in the other for as long as a test lasts."""
    links = []
    for name in ("pyspark", "py4j"):
        found = find_spec(name)
        assert found is not None
        assert found.origin is not None
        link = site_packages(bare) / name
        link.symlink_to(Path(found.origin).parent)
        links.append(link)
    yield
    for link in links:
        link.unlink()


def test_the_same_script_runs_on_the_spark_of_glue_6(bundle: Path, tmp_path: Path) -> None:
    python = installed(bundle, tmp_path)
    pip(python, "pyspark==4.1.*")
    check(convert(python, bundle / "convert.py", tmp_path, SparkOptions("local[2]", 16 * 2**10)))
