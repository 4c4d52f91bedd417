"""Conditions of S3 that moto passes over: a copy of one version only, and deletes of one version only."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from werkzeug.wrappers import Request, Response

_Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]
_REFUSED = "<Error><Code>PreconditionFailed</Code><Message>a condition did not hold</Message></Error>"


def with_conditions(otherwise: _Wsgi) -> _Wsgi:
    """An application that refuses what moto would do against a condition, and leaves the rest to it."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        if (wanted := request.headers.get("x-amz-copy-source-if-match")) is not None:
            bucket, _, key = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("/")
            if _etag(bucket, key) not in (None, wanted.strip('"')):
                return Response(_REFUSED, 412, content_type="application/xml")(environ, start_response)
        elif request.method == "POST" and "delete" in request.args:
            body = _without_others(request.path.strip("/"), request.get_data())
            environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return otherwise(environ, start_response)

    return app


def _etag(bucket: str, key: str) -> str | None:
    found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object(bucket, key)
    return found.etag.strip('"') if found else None


def _without_others(bucket: str, body: bytes) -> bytes:
    """A bulk delete without the keys that hold another version; the client asked not to be told of successes."""
    document = ElementTree.fromstring(body)
    for element in document.iter():
        element.tag = element.tag.rpartition("}")[2]  # moto looks for names without a namespace
    for item in document.findall("Object"):
        wanted = item.findtext("ETag")
        if wanted is not None and _etag(bucket, item.findtext("Key", "")) != wanted.strip('"'):
            document.remove(item)
    return ElementTree.tostring(document)
