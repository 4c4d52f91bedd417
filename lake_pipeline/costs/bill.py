"""What a manifest has cost, reckoned when it is committed and kept in its metrics; pure."""

from __future__ import annotations

from typing import Any

from lake_pipeline.costs.machine import Machine
from lake_pipeline.costs.pace import EngineName
from lake_pipeline.costs.prices import Prices
from lake_pipeline.costs.requests import Requests, Work, conversion_requests


def bill(
    engine: EngineName,
    work: Work,
    seconds: float,
    dpu_seconds: float | None,
    prices: Prices,
    machine: Machine,
    *,
    on_s3: bool,
    archives: bool = True,
) -> dict[str, Any]:
    """An attempt's cost: `seconds` from its begin, DPU-seconds as Glue billed them, requests by what was done.

    Requests are reckoned and not counted; those that were made again for want of an answer are not among them.
    """
    waited = seconds if engine == "glue" else 0.0
    requests = conversion_requests(work, archives=archives, glue_seconds=waited) if on_s3 else Requests()
    parts = {
        "s3": requests.dollars(prices),
        "glue": (dpu_seconds or 0.0) / 3600 * prices.glue_dpu_hour,
        "machine": machine.dollars(seconds, prices),
    }
    return {
        "engine": engine,
        "files": work.files,
        "bytes": work.bytes,
        "outputs": work.outputs,
        "output_bytes": work.output_bytes,
        "seconds": round(seconds, 3),
        "dpu_seconds": dpu_seconds,
        "requests": {name: count for name, count in vars(requests).items() if count},
        "dollars": round(sum(parts.values()), 8),
        **{f"{name}_dollars": round(value, 8) for name, value in parts.items()},
    }
