"""AWS's prices, of the one file that holds them."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from lake_pipeline.errors import UnknownRegion

PRICES = Path(__file__).with_name("prices.yaml")
DEFAULT_REGION = "us-east-1"

Price = Annotated[float, Field(gt=0)]


class Prices(BaseModel):
    """A region's prices in dollars; prices.yaml says of what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    s3_write: Price
    s3_read: Price
    glue_dpu_hour: Price
    glue_catalog: Price
    sqs: Price
    athena_tb: Price
    vcpu_hour: Price
    gb_hour: Price


class MonthPrices(BaseModel):
    """What stands there and what is stored, in dollars by the month unless it says by the hour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    disk_gb_hour: Price
    nat_hour: Price
    nat_gb: Price
    balancer_hour: Price
    balancer_unit_hour: Price
    database_hour: dict[str, Price]
    database_gb: Price
    metric: Price
    alarm_metric: Price
    dashboard: Price
    log_gb: Price
    key: Price
    secret: Price
    zone: Price
    image_gb: Price
    s3_gb: Price
    s3_infrequent_gb: Price
    s3_archive_instant_gb: Price
    s3_archive_gb: Price
    s3_deep_archive_gb: Price
    s3_transition: Price
    s3_watched: Price
    s3_inventory: Price


class Month(BaseModel):
    """One region's prices of a month, when they were looked up, and where AWS publishes each kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: date
    region: str
    source: dict[str, str]
    prices: MonthPrices


class PriceList(BaseModel):
    """Every region's prices, when they were looked up, and where AWS publishes each kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: date
    source: dict[str, str]
    regions: dict[str, Prices]
    month: Month

    def of(self, region: str) -> Prices:
        """One region's.

        Raises:
            UnknownRegion: the file has none of it.
        """
        if region not in self.regions:
            raise UnknownRegion(f"{region!r}; there are prices of {', '.join(sorted(self.regions))} (--region)")
        return self.regions[region]


@cache
def price_list() -> PriceList:
    """What the package's file says."""
    return PriceList.model_validate(yaml.safe_load(PRICES.read_text(encoding="utf-8")))
