"""Two clients of one bucket: obstore for throughput, boto3 for what obstore has no call for."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Any

from obstore.store import S3Store

from lake_pipeline.encryption import Encryption
from lake_pipeline.errors import StoreError

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html: an object of up to 5 GB in one operation.
LARGEST_COPY = 5 * 2**30

# Requests side by side. One prefix takes 3,500 writes a second; at 20 ms each this is about as many.
AT_ONCE = 64

# Seconds without a byte after which a request is given up, and made again.
LONGEST_SILENCE = 60.0

# A busy prefix answers 503 SlowDown until S3 has split it, which takes minutes; a signature is good for five.
_RETRIES: Any = {
    "max_retries": 12,
    "retry_timeout": timedelta(minutes=4),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=20), "base": 2},
}
_OPTIONS: Any = {
    "allow_http": True,  # the endpoint says which; AWS's own are https
    "connect_timeout": timedelta(seconds=10),
    # obstore's own limit ends a request as a whole, and a large object takes as long as it takes.
    "timeout": timedelta(hours=6),
}


class S3Clients:
    """The clients, made when first used: commands that only ask the ledger wait for none."""

    def __init__(self, bucket: str, prefix: str, encryption: Encryption | None, silence: float) -> None:
        self._silence = silence
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._encryption = encryption

    @property
    def write_headers(self) -> dict[str, str]:
        """What boto3 is to say with each write."""
        if self._encryption is None:
            return {}
        headers = {"ServerSideEncryption": self._encryption.algorithm}
        return headers | ({"SSEKMSKeyId": self._encryption.kms_key_id} if self._encryption.kms_key_id else {})

    @cached_property
    def _credentials(self) -> Any:
        """What boto3 finds: profiles, roles, web identity among them; renewed by it in time."""
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider

        try:
            return Boto3CredentialProvider(boto3.session.Session())
        except ValueError:
            raise StoreError(
                f"s3://{self.bucket}: no AWS credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or run where a role is attached"
            ) from None

    @cached_property
    def boto3(self) -> Any:
        """boto3's client.

        Raises:
            StoreError: there are no credentials.
        """
        from lake_pipeline.aws import client

        return self._credentials and client("s3", connections=AT_ONCE, silence=self._silence)

    @cached_property
    def obstore(self) -> S3Store:
        """obstore's client, with boto3's region and endpoint.

        Raises:
            StoreError: there are no credentials.
        """
        config: dict[str, Any] = {"endpoint": self.boto3.meta.endpoint_url}
        if self._encryption is not None:
            config["server_side_encryption"] = self._encryption.algorithm
            if self._encryption.kms_key_id:
                config["sse_kms_key_id"] = self._encryption.kms_key_id
        return S3Store(
            self.bucket,
            prefix=self.prefix or None,
            config=config,  # type: ignore[arg-type]
            client_options=_OPTIONS | {"read_timeout": timedelta(seconds=self._silence)},
            retry_config=_RETRIES,
            credential_provider=self._credentials,
        )
