"""The Glue job: its version, its script and its wheels, which are to be of this release, and its role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from lake_pipeline import __version__
from lake_pipeline.doctor.account import code_of
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.engines.task import SCRIPT

# Python 3.11, of which the wheels of `make glue-bundle` are.
_GLUE = "5.1"
_BUNDLE = f"lake-pipeline-{__version__}.gluewheels.zip"
_MAKE = "make glue-bundle STORE=$LAKE_STORE && aws s3 cp --recursive dist/ $LAKE_STORE/glue/"
_GONE = ("404", "NoSuchKey", "NoSuchBucket")


def look(at: Examined) -> Iterator[Finding]:
    name = at.settings.glue_job or ""
    glue = at.client("glue")
    try:
        job = glue.get_job(JobName=name)["Job"]
    except glue.exceptions.EntityNotFoundException:
        yield bad("job", f"there is no Glue job {name}", "aws glue create-job …: docs/aws.md, 4; or set LAKE_GLUE_JOB")
        return
    yield from judge_job(job)
    yield _script(at, job)
    yield _bundle(at, job)
    yield _role(at, str(job["Role"]))


def judge_job(job: Mapping[str, Any]) -> Iterator[Finding]:
    """What the job's properties are and should be (docs/aws-glue.md)."""
    name = job["Name"]
    update = f"aws glue update-job --job-name {name} …: docs/aws-glue.md, The job"
    version = str(job.get("GlueVersion", "none"))
    if version == _GLUE:
        yield good("version", f"{name}: Glue {version}")
    else:
        yield bad(
            "version", f"{name}: Glue {version}, and the wheels are for {_GLUE}", f"GlueVersion {_GLUE}: {update}"
        )
    if job.get("MaxRetries", 0):
        yield bad(
            "retries", f"{job['MaxRetries']}: a run that Glue repeats works for nobody", f"MaxRetries 0: {update}"
        )
    else:
        yield good("retries", "0: the ledger tries again")
    runs = int(job.get("ExecutionProperty", {}).get("MaxConcurrentRuns", 1))
    if runs > 1:
        yield good("concurrency", f"{runs} runs at once")
    else:
        yield doubtful("concurrency", "one run at a time", f"MaxConcurrentRuns as dagster.yaml's pools: {update}")


def _script(at: Examined, job: Mapping[str, Any]) -> Finding:
    location = str(job["Command"].get("ScriptLocation", ""))
    body = _read(at, location)
    if body is None:
        return bad("script", f"there is nothing at {location or 'no location'}", _MAKE)
    if body != SCRIPT.read_bytes():
        return bad("script", f"{location} is not that of release {__version__}", _MAKE)
    return good("script", location)


def _bundle(at: Examined, job: Mapping[str, Any]) -> Finding:
    modules = str(job.get("DefaultArguments", {}).get("--additional-python-modules", ""))
    ours = next((each.strip() for each in modules.split(",") if each.strip().endswith(_BUNDLE)), None)
    if ours is None:
        return bad("bundle", f"the job installs {modules or 'nothing'}, and this is release {__version__}", _MAKE)
    if not _is_there(at, ours):
        return bad("bundle", f"there is nothing at {ours}", _MAKE)
    return good("bundle", ours)


def _role(at: Examined, role: str) -> Finding:
    name = role.rpartition("/")[2]
    try:
        trust = at.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    except ClientError as error:
        if code_of(error) == "NoSuchEntity":
            return bad("role", f"there is no role {name}", "aws iam create-role …: docs/aws.md, 4")
        if code_of(error) in ("AccessDenied", "AccessDeniedException"):
            return doubtful(
                "role", f"this role may not look at {name}", "allow iam:GetRole on it, or look in the console"
            )
        raise
    if "glue.amazonaws.com" not in str(trust):
        return bad("role", f"Glue may not assume {name}", "trust glue.amazonaws.com: docs/aws.md, 4")
    return good("role", name)


def _read(at: Examined, uri: str) -> bytes | None:
    place = urlsplit(uri)
    try:
        body: bytes = at.client("s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read()
        return body
    except ClientError as error:
        if code_of(error) in _GONE:
            return None
        raise


def _is_there(at: Examined, uri: str) -> bool:
    place = urlsplit(uri)
    try:
        at.client("s3").head_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
    except ClientError as error:
        if code_of(error) in _GONE:
            return False
        raise
    return True
