"""Clients of AWS's control planes; objects go through the store."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader

from lake_pipeline.errors import SettingsError

_log = logging.getLogger(__name__)
# A long poll of SQS takes 20 s, so an answer may take longer than that and no longer than a minute.
_SILENCE = 60.0
_CONFIG = Config(connect_timeout=10, user_agent_extra="lake-pipeline")


def client(service: str, connections: int = 10, *, attempts: int = 8, silence: float = _SILENCE) -> Any:
    """A new client, such as `client("sqs")`, for the usual `AWS_*` variables, `AWS_ENDPOINT_URL` among them.

    It tries again, with jittered backoff, where AWS throttles or fails, a connection breaks, or nothing is heard for
    `silence` seconds: `attempts` in all, and says so in the log. Good for many threads, of which so many keep their
    `connections`.

    Raises:
        SettingsError: no region is set, or the profile that is named is not there.
    """
    config = Config(
        max_pool_connections=connections,
        read_timeout=silence,
        retries={"mode": "adaptive", "total_max_attempts": attempts},
    )
    session = botocore.session.Session()
    session.register_component("data_loader", _models())
    try:
        made = boto3.session.Session(botocore_session=session).client(service, config=_CONFIG.merge(config))
    except BotoCoreError as error:
        raise SettingsError(f"AWS, {service}: {error}") from error
    made.meta.events.register("after-call", _tell_retries)
    return made


@cache
def _models() -> Loader:
    """AWS's description of its services, which takes longer to read than a client to make."""
    return Loader()


def _tell_retries(model: Any, parsed: dict[str, Any], **_: Any) -> None:
    if retries := parsed.get("ResponseMetadata", {}).get("RetryAttempts"):
        _log.warning("AWS answered %s after %d retries", model.name, retries)
