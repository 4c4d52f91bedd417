"""Clients of AWS's control planes; objects go through the store."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from lake_pipeline.errors import SettingsError

# A long poll of SQS takes 20 s, so an answer may take longer than that and no longer than a minute.
_CONFIG = Config(
    retries={"mode": "adaptive", "total_max_attempts": 8},
    connect_timeout=10,
    read_timeout=60,
    user_agent_extra="lake-pipeline",
)


def client(service: str, **config: Any) -> Any:
    """A new client, such as `client("sqs")`, for the usual `AWS_*` variables, `AWS_ENDPOINT_URL` among them.

    It tries again, with backoff, where AWS throttles or a connection fails: 8 times in all. Good for many threads.
    `config` are botocore's options in place of these.

    Raises:
        SettingsError: no region is set, or the profile that is named is not there.
    """
    try:
        return boto3.session.Session().client(service, config=_CONFIG.merge(Config(**config)))
    except BotoCoreError as error:
        raise SettingsError(f"AWS, {service}: {error}") from error
