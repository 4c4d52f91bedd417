"""Every request to AWS that comes over the wire, as IAM sees it; those of roles are held to the roles' policies."""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from werkzeug.wrappers import Request, Response

from lake_pipeline.aws_local.server import REGION, Wsgi
from lake_pipeline_tests.iam import Call, allowing

ACCOUNT = "123456789012"  # moto's
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/[^/]*/([^/]+)/aws4_request")
# What the service calls an action other than its operation: a batch is allowed by what it is a batch of.
_ACTIONS = {
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sns:PublishBatch": "sns:Publish",
}
_SERVICES = {"monitoring": "cloudwatch"}


@dataclass
class Recorder:
    """Holds the requests of each role, which its access key names, to its policy; other access keys may do all.

    `acts_for` are access keys of services that ask in a role's name.
    """

    policies: Mapping[str, list[dict[str, Any]]]
    workgroup: str  # GetQueryExecution and its like name the query, not its workgroup
    passed: tuple[str, ...] = ()  # ARNs of the roles that a task's definition, and not who runs the task, names
    acts_for: dict[str, str] = field(default_factory=dict)
    calls: dict[str, set[Call]] = field(default_factory=dict)
    used: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    refused: set[tuple[str, Call]] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)

    def around(self, otherwise: Wsgi) -> Wsgi:
        """An application that answers 403 to what the role's policy does not allow."""

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            request = Request(environ)
            found = _CREDENTIAL.search(request.headers.get("Authorization", ""))
            role = self.acts_for.get(found[1], found[1]) if found else ""
            if found and role in self.policies:
                refused = self._judge(role, list(self._calls(_SERVICES.get(found[2], found[2]), request)))
                if refused is not None:
                    return _deny(found[2], role, refused)(environ, start_response)
            return otherwise(environ, start_response)

        return app

    def _judge(self, role: str, calls: list[Call]) -> Call | None:
        """The first call that is not allowed; all are kept in mind."""
        with self._lock:
            self.calls.setdefault(role, set()).update(calls)
            for call in calls:
                allowed = allowing(self.policies[role], call)
                if not allowed:
                    self.refused.add((role, call))
                    return call
                self.used.setdefault(role, set()).update(allowed)
        return None

    def _calls(self, service: str, request: Request) -> Iterator[Call]:
        if service == "s3":
            yield from _of_s3(request)
            return
        operation, asked = _operation(request)
        if service == "ecs":
            yield from self._of_ecs(operation, asked)
            return
        action = _ACTIONS.get(f"{service}:{operation}", f"{service}:{operation}")
        for resource in self._resources(service, asked):
            yield Call(action, resource, tuple(_keys(service, asked)))

    def _of_ecs(self, operation: str, asked: dict[str, Any]) -> Iterator[Call]:
        if operation == "RunTask":
            cluster = asked["cluster"]
            yield Call("ecs:RunTask", asked["taskDefinition"], (("ecs:cluster", cluster),))
            yield from (
                Call("iam:PassRole", role, (("iam:PassedToService", "ecs-tasks.amazonaws.com"),))
                for role in self.passed
            )
            if asked.get("tags"):
                task = f"{cluster.replace(':cluster/', ':task/')}/new"
                yield Call("ecs:TagResource", task, (("ecs:CreateAction", "RunTask"),))
        elif operation in ("DescribeTasks", "StopTask"):
            for task in asked.get("tasks") or [asked["task"]]:
                yield Call(f"ecs:{operation}", task)
        elif operation == "DescribeTaskDefinition":
            yield Call("ecs:DescribeTaskDefinition", "*")
        else:
            raise NotImplementedError(operation)

    def _resources(self, service: str, asked: dict[str, Any]) -> list[str]:
        if service in ("cloudwatch", "ec2"):
            return ["*"]
        if service == "sqs":
            return [_arn("sqs", (asked.get("QueueUrl") or asked["QueueName"]).rpartition("/")[2])]
        if service == "sns":
            return [asked["TopicArn"]]
        if service == "events":
            buses = {entry["EventBusName"].rpartition("/")[2] for entry in asked["Entries"]}
            return [_arn("events", f"event-bus/{bus}") for bus in sorted(buses)]
        if service == "logs":
            return [_arn("logs", f"log-group:{asked['logGroupName']}:log-stream:{asked['logStreamName']}")]
        if service == "athena":
            return [_arn("athena", f"workgroup/{asked.get('WorkGroup', self.workgroup)}")]
        if service == "glue":
            return _of_glue(asked)
        raise NotImplementedError(service)


def _of_glue(asked: dict[str, Any]) -> list[str]:
    if "JobName" in asked:
        return [_arn("glue", f"job/{asked['JobName']}")]
    made = asked.get("DatabaseInput", {}).get("Name")
    database = made or asked.get("DatabaseName") or asked["Name"]
    resources = ["catalog", f"database/{database}"]
    if "DatabaseName" in asked:
        table = asked.get("TableInput", asked).get("Name") or asked.get("TableName")
        resources.append(f"table/{database}/{table}")
    return [_arn("glue", resource) for resource in resources]


def _of_s3(request: Request) -> Iterator[Call]:
    """By the service's authorization reference; what is not here is an error of the test's, to be looked up there."""
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    query = set(request.args) - {"x-id"}
    thing = f"arn:aws:s3:::{bucket}/{key}"
    if not key:
        yield from _of_bucket(request, bucket, query)
    elif request.method in ("GET", "HEAD") and not query - {"partNumber"}:
        yield Call("s3:GetObject", thing)
    elif (request.method == "PUT" and not query - {"partNumber", "uploadId"}) or (
        request.method == "POST" and query in ({"uploads"}, {"uploadId"})
    ):
        yield Call("s3:PutObject", thing)
        if source := request.headers.get("x-amz-copy-source"):
            yield Call("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/')}")
    elif request.method == "DELETE" and query == {"uploadId"}:
        yield Call("s3:AbortMultipartUpload", thing)
    elif request.method == "DELETE" and not query:
        yield Call("s3:DeleteObject", thing)
    else:
        raise NotImplementedError(f"{request.method} {request.url}")


def _of_bucket(request: Request, bucket: str, query: set[str]) -> Iterator[Call]:
    if request.method == "GET" and "list-type" in query:
        keys = (("s3:prefix", request.args.get("prefix", "")),)
        yield Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", keys)
    elif request.method == "GET" and query == {"location"}:
        yield Call("s3:GetBucketLocation", f"arn:aws:s3:::{bucket}")
    elif request.method == "POST" and query == {"delete"}:
        for element in ElementTree.fromstring(_body(request)).iter():
            if element.tag.rpartition("}")[2] == "Key":
                yield Call("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{element.text}")
    else:
        raise NotImplementedError(f"{request.method} {request.url}")


def _operation(request: Request) -> tuple[str, dict[str, Any]]:
    """The operation's name and what is asked, in either of AWS's protocols."""
    body = _body(request)
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    target = request.headers.get("X-Amz-Target", "")
    if target:
        return target.rpartition(".")[2], json.loads(body or b"{}")
    asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return asked["Action"], asked


def _keys(service: str, asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if service == "cloudwatch":
        yield "cloudwatch:namespace", asked["Namespace"]


def _body(request: Request) -> bytes:
    """The body, which who comes after reads again."""
    body = request.get_data(cache=False)
    request.environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    return body


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _deny(service: str, role: str, call: Call) -> Response:
    message = f"{role} is not authorized to perform {call.action} on {call.resource}"
    if service == "s3":
        document = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        return Response(document, 403, content_type="application/xml")
    answer = json.dumps({"__type": "AccessDeniedException", "message": message})
    return Response(answer, 403, content_type="application/x-amz-json-1.1")
