"""Clients of AWS's control planes; objects go through the store."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from lake_pipeline.errors import SettingsError

# A long poll of SQS takes 20 s, so an answer may take longer than that and no longer than a minute.
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    user_agent_extra="lake-pipeline",
)


def client(service: str, connections: int = 10, *, attempts: int = 8) -> Any:
    """A new client, such as `client("sqs")`, for the usual `AWS_*` variables, `AWS_ENDPOINT_URL` among them.

    It tries again, with backoff, where AWS throttles or a connection fails: `attempts` in all. Good for many threads,
    of which so many keep their `connections`.

    Raises:
        SettingsError: no region is set, or the profile that is named is not there.
    """
    config = Config(max_pool_connections=connections, retries={"mode": "adaptive", "total_max_attempts": attempts})
    try:
        return boto3.session.Session().client(service, config=_CONFIG.merge(config))
    except BotoCoreError as error:
        raise SettingsError(f"AWS, {service}: {error}") from error
