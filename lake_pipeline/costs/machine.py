"""The machine that Dagster runs on, as far as it costs; pure."""

from __future__ import annotations

from dataclasses import dataclass

from lake_pipeline.costs.prices import Prices

# What Fargate sells with a vCPU at least 2 GB of; a conversion takes 2 GiB in DuckDB (LAKE_MEMORY) and as much beside.
_GB_OF_A_VCPU = 4


@dataclass(frozen=True)
class Machine:
    """How many cores."""

    vcpus: int

    def dollars(self, seconds: float, prices: Prices) -> float:
        """What it costs for so long."""
        return self.vcpus * (prices.vcpu_hour + _GB_OF_A_VCPU * prices.gb_hour) * seconds / 3600
