"""The dataset declaration: what one YAML file may say."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Field, PositiveInt, field_validator, model_validator

from lake_pipeline.checks import Checks
from lake_pipeline.cron import check_cron
from lake_pipeline.expectation import Expectation
from lake_pipeline.landing import GroupTemplate
from lake_pipeline.notation import Duration, Name, Prefix, Size
from lake_pipeline.output import Output
from lake_pipeline.schema_rules import SchemaRules
from lake_pipeline.strict import Strict as _Strict
from lake_pipeline.transforms import Transform

# What Dagster takes for an owner; it would refuse another only when the UI starts.
_OWNER = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}|team:.+")


# Arrow's offsets end at 2 GiB, and a record shares its block with those around it.
_LONGEST_RECORD = 2**31 - 2**24


class Source(_Strict):
    """Where raw files land and how they are read."""

    prefix: Prefix = Field(description="where raw files land, below the store's root")
    format: Literal["json", "ndjson", "parquet"] = Field(
        "json",
        description="json: an array, a document or lines; ndjson: one record a line; both .gz and .zst by suffix;"
        " parquet: as it is",
    )
    records: str | None = Field(
        None, description="dotted path to the array of records inside a document, such as features"
    )
    group: str = Field(
        "", description='the part of a key below the prefix that says when it landed, such as "{year}/{week}/"'
    )
    max_unpacked_bytes: Size = Field(
        20 * 2**30,
        description="what a .gz, .zst or Parquet file may unpack to, how long a JSON document or array may be, which is"
        " held in memory whole, and what flatten.explode may add to any file; one beyond it is quarantined whole",
    )
    max_record_bytes: Annotated[Size, Field(le=_LONGEST_RECORD)] = Field(
        256 * 2**20,
        description="the longest JSON record; a longer one is quarantined by itself, or the file where it is its only"
        " one",
    )
    expect: Expectation = Field(default_factory=Expectation, description="of Parquet files; see `source.expect` below")

    @model_validator(mode="after")
    def _fields_suit_the_format(self) -> Source:
        if self.format == "parquet" and self.records is not None:
            raise ValueError("records is of JSON documents, and format is parquet")
        if self.format != "parquet" and self.expect != Expectation():
            raise ValueError(f"expect is of Parquet files, and format is {self.format}")
        return self

    @field_validator("group")
    @classmethod
    def _group_is_a_template(cls, value: str) -> str:
        GroupTemplate.parse(value)
        return value

    @property
    def group_template(self) -> GroupTemplate:
        """`group`, compiled."""
        return GroupTemplate.parse(self.group)


_DOCUMENT = re.compile(r"(?:[\w.=/-]|\{(?:dataset|group|sequence)\})+\.json", re.ASCII)


class Batch(_Strict):
    """How large a manifest may grow and how long it waits for more files."""

    max_files: PositiveInt = Field(10_000, description="files in one manifest at most")
    max_bytes: Size = Field(
        4 * 2**30, description="bytes in one manifest at most; one larger file is a manifest of its own"
    )
    max_wait: Duration = Field(
        timedelta(minutes=15), description="how long an incomplete manifest waits for more files"
    )
    max_retries: PositiveInt = Field(3, description="how often a failed file or manifest is tried again")
    run_manifests: PositiveInt = Field(10, description="manifests that one Dagster run takes, one after another")
    run_bytes: Size = Field(
        2**30, description="raw bytes of a run that takes several; a larger manifest has a run of its own"
    )
    manifests: str = Field(
        "{dataset}/{group}.{sequence}.json",
        description="name of a manifest's document below manifests/; {group} and {sequence} are the parts of its id",
    )

    @field_validator("manifests")
    @classmethod
    def _each_manifest_has_a_document_of_its_own(cls, value: str) -> str:
        once = value.count("{group}") == value.count("{sequence}") == 1
        apart = re.search(r"(?:^|[^\d}]){sequence}[^\d{]", value)
        segments = all(part and not part.startswith(".") for part in value.split("/"))
        if not (_DOCUMENT.fullmatch(value) and once and apart and segments):
            raise ValueError(
                "it must be a name such as {group}/batch-{sequence}.json, with {group} and {sequence} once each, no"
                " digit beside {sequence}, and of other placeholders {dataset} only"
            )
        return value


class Schedule(_Strict):
    """When manifests are planned, in place of planning as files arrive."""

    cron: str = Field(description="minute, hour, day of month, month, day of week, such as `*/5 * * * *`")
    timezone: str = Field("UTC", description="whose clock that is, such as Europe/Vienna")

    @field_validator("cron")
    @classmethod
    def _cron_can_be_read(cls, value: str) -> str:
        check_cron(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is no time zone, such as UTC or Europe/Vienna")
        return value


class Archive(_Strict):
    """What becomes of a raw file once its rows are safe."""

    action: Literal["move", "keep"] = Field(
        "keep", description="move: to `prefix`, and unreadable files to quarantine/; keep: they stay where they landed"
    )
    prefix: Prefix | None = Field(None, description="where raw files move")


class Retention(_Strict):
    """How long the ledger remembers."""

    file_records: Duration | None = Field(
        None,
        description="how long after a manifest's commit the records of its files are kept, such as 30d, and as long"
        " those of versions that were overtaken or deleted before a manifest took them, once nothing else is known of"
        " their keys; without it, for ever. Needs archive.action move",
    )


class Extract(_Strict):
    """Named SQL over the table, kept as Parquet of its own."""

    name: Name = Field(description="lower-case letters, digits and underscores; the table is `<dataset>_<name>`")
    sql: str = Field(description="one DuckDB SELECT over the table by its name; it can read nothing else")
    athena: str | None = Field(
        None, description="the same in Athena's SQL, for a lake whose catalogue is Glue, where DuckDB's is not that too"
    )
    description: str = Field("", description="what a person sees of it in the Dagster UI")

    def sql_for(self, catalog: Literal["duckdb", "glue"]) -> str:
        """The SQL that the engine of this catalogue runs."""
        return self.athena if catalog == "glue" and self.athena is not None else self.sql


class Dataset(_Strict):
    """One declaration: where raw files land, how they are read, cleaned, laid out and checked."""

    name: Name = Field(description="lower-case letters, digits and underscores; the table's name")
    description: str = Field("", description="what a person sees of it in the Dagster UI")
    owners: list[str] = Field(default_factory=list, description="e-mail addresses or team:name")
    source: Source
    batch: Batch = Field(default_factory=Batch)
    schedule: Schedule | None = Field(
        None, description="plan on this schedule, what is there by then; without it, as files arrive"
    )
    schema_: SchemaRules = Field(default_factory=SchemaRules, alias="schema")
    transform: Transform = Field(default_factory=Transform)
    output: Output
    checks: Checks = Field(default_factory=Checks)
    archive: Archive = Field(default_factory=Archive)
    retention: Retention = Field(default_factory=Retention)
    extracts: list[Extract] = Field(default_factory=list, description="see `extracts` below")

    def output_prefix(self, landing_group: str) -> str:
        """Where the files of this landing group's manifests are published."""
        return self.source.group_template.fill(self.output.prefix, landing_group)

    @model_validator(mode="after")
    def _forgotten_files_are_out_of_sight(self) -> Dataset:
        if self.retention.file_records is not None and self.archive.action != "move":
            raise ValueError(
                "retention.file_records needs archive.action move, or a file that stays where it landed would be"
                " taken for a new one"
            )
        return self

    @model_validator(mode="after")
    def _source_has_types_of_its_own(self) -> Dataset:
        if self.source.format == "parquet":
            if self.schema_.mode == "strings":
                raise ValueError("schema.mode: strings keeps how JSON is written, and source.format is parquet")
            if self.transform.utc:
                raise ValueError("transform.utc: it reads notations of JSON, and source.format is parquet")
            if self.schema_.flatten.explode is not None:
                raise ValueError("schema.flatten.explode: it cuts JSON records, and source.format is parquet")
        return self

    @model_validator(mode="after")
    def _one_to_one_can_be_kept(self) -> Dataset:
        if self.output.files == "one_to_one":
            if self.source.format != "parquet":
                raise ValueError("output.files: one_to_one needs source.format parquet")
            if self.transform.deduplicate:
                raise ValueError("transform.deduplicate: it looks across files, and output.files is one_to_one")
            if self.retention.file_records is not None:
                raise ValueError(
                    "retention.file_records: a forgotten file that lands again would replace another manifest's output,"
                    " and output.files is one_to_one"
                )
        return self

    @model_validator(mode="after")
    def _output_prefix_can_be_filled(self) -> Dataset:
        names = self.source.group_template.names
        wanted = GroupTemplate.parse(self.output.prefix).names
        if unknown := [name for name in wanted if name not in names]:
            raise ValueError(f"output.prefix: {{{unknown[0]}}} is no placeholder of source.group")
        if not self.output.stem:
            raise ValueError("output.prefix: it must begin with a text of its own, before any placeholder")
        return self

    @field_validator("owners")
    @classmethod
    def _owners_can_be_found(cls, value: list[str]) -> list[str]:
        for owner in value:
            if not _OWNER.fullmatch(owner):
                raise ValueError(f"{owner!r} is neither an e-mail address nor team:name")
        return value

    @field_validator("extracts")
    @classmethod
    def _extracts_are_apart(cls, value: list[Extract]) -> list[Extract]:
        if len({extract.name for extract in value}) != len(value):
            raise ValueError("two extracts have the same name")
        return value

    @field_validator("archive")
    @classmethod
    def _archive_has_a_place(cls, value: Archive) -> Archive:
        if value.action == "move" and value.prefix is None:
            raise ValueError("archive.action is move, so archive.prefix must say where to")
        return value
