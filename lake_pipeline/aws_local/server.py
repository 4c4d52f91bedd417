"""AWS's wire on this machine: moto's server, with what moto only records carried out by operations of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from lake_pipeline.aws_local.s3_conditions import with_conditions
from lake_pipeline.aws_local.sqs_retention import retain_cheaply

REGION = "eu-central-1"
Operation = Callable[[dict[str, Any]], dict[str, Any]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Refused(Exception):
    """What an operation answers in place of a result; `code` is AWS's name of the error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def serve(
    operations: Mapping[str, Operation] | None = None, around: Callable[[Wsgi], Wsgi] | None = None
) -> Iterator[str]:
    """Serve AWS on a free port of 127.0.0.1; its URL.

    `operations` answer what they are named for, such as `AWSGlue.StartJobRun` (the protocol's target), in place of
    moto. They run in threads of the server, several at once. `around` makes of the application one that sees every
    request first.
    """
    retain_cheaply()
    app = _answering(operations or {}, with_conditions(DomainDispatcherApplication(create_backend_app)))
    app = around(app) if around is not None else app
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, name="aws-local", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """Nothing: who wants to see requests has a client that logs them."""


def environment(url: str, access_key: str = "local") -> dict[str, str]:
    """Variables with which every AWS client, and the store, meets the server; any access key will do."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _answering(operations: Mapping[str, Operation], otherwise: Wsgi) -> Wsgi:
    """An application that answers the named operations itself."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        operation = operations.get(environ.get("HTTP_X_AMZ_TARGET", ""))
        if operation is None:
            return otherwise(environ, start_response)
        return _answer(operation, Request(environ))(environ, start_response)

    return app


def _answer(operation: Operation, request: Request) -> Response:
    try:
        status, document = 200, operation(json.loads(request.get_data() or b"{}"))
    except Refused as refused:
        status, document = 400, {"__type": refused.code, "message": str(refused)}
    return Response(json.dumps(document, default=str), status, content_type="application/x-amz-json-1.1")
