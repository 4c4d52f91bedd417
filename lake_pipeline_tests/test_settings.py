"""Settings: read from the environment, once, with errors that name the variable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lake_pipeline.errors import SettingsError
from lake_pipeline.settings import BUNDLED_DATASETS, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith("LAKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_embedded_lake_below_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home_dir == tmp_path / ".lake"
    assert settings.store_url == str(tmp_path / ".lake/store")
    assert settings.catalog_path == tmp_path / ".lake/catalog.duckdb"
    assert settings.database_url is None
    assert settings.datasets == BUNDLED_DATASETS
    assert settings.engine == "local"


def test_reading_settings_touches_nothing(tmp_path: Path) -> None:
    load_settings()
    assert list(tmp_path.iterdir()) == []


def test_variables_are_honoured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in {
        "LAKE_HOME": "~/lake",
        "LAKE_STORE": "s3://bucket/some/prefix/",
        "LAKE_DATABASE_URL": "postgresql://user@host/lake",
        "LAKE_DATASETS": "declared",
        "LAKE_ENGINE": "spark",
        "LAKE_SPARK_MASTER": "spark://host:7077",
        "LAKE_SPARK_PART": "1MiB",
        "LAKE_THREADS": "3",
        # Dagster's, not ours: no error.
        "LAKE_DAGSTER_DATABASE_URL": "postgresql+psycopg://user@host/lake",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.home_dir == tmp_path / "home/lake"
    assert settings.store_url == "s3://bucket/some/prefix"
    assert settings.database_url == "postgresql://user@host/lake"
    assert settings.datasets == Path("declared")
    assert settings.engine == "spark"
    assert (settings.spark_master, settings.spark_part) == ("spark://host:7077", 2**20)
    assert settings.threads == 3


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKE_STORE", "")
    monkeypatch.setenv("LAKE_DATABASE_URL", "")
    assert load_settings().store_url == str(tmp_path / ".lake/store")
    assert load_settings().database_url is None


@pytest.mark.parametrize("store", ["data/lake", "./data/lake"])
def test_a_relative_store_is_below_the_working_directory(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAKE_STORE", store)
    assert load_settings().store_url == str(tmp_path / "data/lake")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LAKE_ENGINE", "flink", "'local', 'spark' or 'glue'"),
        ("LAKE_SPARK_PART", "much", "is not a size"),
        ("LAKE_THREADS", "0", "greater than 0"),
        ("LAKE_GRACE_SECONDS", "-1", "greater than or equal to 0"),
        ("LAKE_EVENTS_QUEUE", "arrivals", "a queue's URL, such as https://sqs"),
        ("LAKE_EVENTS_DLQ", "https://sqs.eu-central-1.amazonaws.com/1/dead.fifo", "standard queues only"),
        ("LAKE_THREADS", "many", "valid integer"),
        ("LAKE_STORE", "gs://bucket", r"a directory or s3://bucket\[/prefix\]"),
        ("LAKE_STORE", "s3:///prefix", r"a directory or s3://bucket\[/prefix\]"),
        ("LAKE_STORE", "s3://bucket/a//b", "no segment that is empty"),
        ("LAKE_STORE", "s3://bucket/../b", "no segment that is empty"),
        ("LAKE_STORE", "s3://bucket/a#b", "no `#`"),
        ("LAKE_S3_ENCRYPTION", "rot13", "'AES256', 'aws:kms' or 'aws:kms:dsse'"),
        ("LAKE_S3_KMS_KEY_ID", "alias/lake", "needs LAKE_S3_ENCRYPTION=aws:kms"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error_that_names_the_variable(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(
        SettingsError, match=f"^A setting has a value that cannot be used: {name}='{value}': .*{reason}"
    ):
        load_settings()


def test_the_catalogue_goes_with_the_store_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().catalog_kind == "duckdb"
    monkeypatch.setenv("LAKE_STORE", "s3://bucket/lake")
    assert load_settings().catalog_kind == "glue"
    monkeypatch.setenv("LAKE_CATALOG", "duckdb")
    assert load_settings().catalog_kind == "duckdb"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("LAKE_CATALOG", "glue", "Athena reads S3 only"),
        ("LAKE_GLUE_DATABASE", "My-Lake", "lower-case letters, digits and underscores"),
        ("LAKE_ATHENA_REUSE_MINUTES", "20000", "less than or equal to 10080"),
        ("LAKE_ALERTS_TOPIC", "lake-alerts", "a standard topic's ARN"),
    ],
)
def test_a_setting_of_aws_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}=.*{reason}"):
        load_settings()
