"""What differs between environments: the values under `environments` in cdk.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

ROOT = Path(__file__).parents[1]
# Disk of each Fargate task: scratch of manifests that are converted here, and of extracts.
TASK_DISK = 50
Gibibytes = Annotated[int, Field(ge=1)]


class Context(BaseModel):
    """One environment; unknown values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str = Field(description="where all of it is")
    email: str = Field(description="who is told of alerts and alarms; must confirm the first message")
    datasets: Path = Field(
        Path("lake_pipeline/datasets"),
        description="the declarations, a folder from the repository's root: their prefixes go into rules and policies",
    )
    protected: bool = Field(description="whether database and load balancer refuse to be deleted")
    cidr: str = Field("10.0.0.0/16", description="addresses of the network; who comes from one of them reaches the UI")
    zones: PositiveInt = Field(2, ge=2, description="availability zones of the network")
    nat_gateways: PositiveInt = Field(1, description="ways out for the tasks; one for each zone outlives a zone")
    database_class: str = Field("t4g.small", description="of RDS, without `db.`")
    database_storage: Gibibytes = Field(50, ge=20, description="GiB; grows by itself to four times that")
    database_standby: bool = Field(False, description="whether a standby is kept in another zone")
    database_connections: PositiveInt = Field(
        150, description="that raise an alarm; RDS takes its memory in bytes / 9,531,392, a t4g.small about 200"
    )
    backup_days: PositiveInt = Field(14, le=35, description="how far back the database can be restored to any second")
    archive_tiers: bool = Field(
        False, description="whether archived raw files go on to Archive Access (180 days) and Deep Archive (270)"
    )
    glue_at_once: PositiveInt = Field(3, description="Glue runs at the same time, as many as Dagster's pool lets run")
    crawler: bool = Field(False, description="whether a crawler on the raw prefixes is made, for looking around")
    scan_limit: Gibibytes = Field(1024, description="GiB that one Athena query may scan")
    task_cpu: PositiveInt = Field(1024, description="units of 1/1024 vCPU, of each Fargate task")
    task_memory: PositiveInt = Field(4096, description="MiB of each Fargate task")
    image_tag: str = Field("latest", description="which image of the repository runs")
    certificate: str | None = Field(None, description="ARN of the load balancer's certificate; without one, plain HTTP")
    readers: list[str] = Field(
        [], description="ARNs that may take the readers' role; default: whom the account's own policies let"
    )
    failures: PositiveInt = Field(3, description="failed attempts of a dataset in an hour that raise an alarm")
    backlog_minutes: PositiveInt = Field(60, description="age of the oldest waiting file that raises an alarm")
    manifest_minutes: PositiveInt = Field(50, description="duration of an attempt that raises an alarm")
    hours_without_success: PositiveInt = Field(
        6, le=24, description="hours in which files wait and nothing is committed, that raise an alarm"
    )


def context_of(environments: dict[str, dict[str, Any]], env: str) -> Context:
    """An environment's values.

    Raises:
        KeyError: there is no such environment.
        pydantic.ValidationError: a value is missing, unknown or cannot be used.
    """
    return Context(**environments[env])
