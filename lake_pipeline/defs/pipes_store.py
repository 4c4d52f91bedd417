"""Dagster Pipes through the lake's own store, for engines that share nothing else with this process.

The script on the other side uses dagster_pipes' S3 context loader and message writer. dagster_aws's counterparts are
not used here: they leave their objects at the bucket's root, lose all messages after one lost connection, wait ten
seconds for the last words of a job that was stopped, and know nothing of the lake's prefix and encryption.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dagster as dg
from dagster_pipes import PipesContextData, PipesParams

from lake_pipeline.errors import StoreError
from lake_pipeline.store import Store

_LOOK_SECONDS = 2.0


class StoreContextInjector(dg.PipesContextInjector):
    """Leaves the context under a prefix of the store, where it stays until the prefix is deleted."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._key = store, f"{prefix}context.json"

    @contextmanager
    def inject_context(self, context_data: PipesContextData) -> Iterator[PipesParams]:
        self._store.put_json(self._key, context_data)
        bucket, key = _location(self._store, self._key)
        yield {"bucket": bucket, "key": key}

    def no_messages_debug_text(self) -> str:
        return f"The context is in {self._store.uri(self._key)}."


class StoreMessageReader(dg.PipesMessageReader):
    """Reads messages under a prefix of the store, from the first on, as they come and until the session is closed."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, f"{prefix}messages"

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[PipesParams]:
        closed = threading.Event()
        thread = threading.Thread(target=self._follow, args=(handler, closed), name="pipes-messages", daemon=True)
        thread.start()
        try:
            bucket, key = _location(self._store, self._prefix)
            yield {"bucket": bucket, "key_prefix": key}
        finally:
            closed.set()
            thread.join()

    def no_messages_debug_text(self) -> str:
        return f"Messages were looked for in {self._store.uri(self._prefix)}/."

    def _follow(self, handler: dg.PipesMessageHandler, closed: threading.Event) -> None:
        number = 1
        try:
            while not handler.received_closed_message:
                last = closed.is_set()  # asked first, so that what was written before is still read
                try:
                    while True:
                        for line in self._store.get(f"{self._prefix}/{number}.json").splitlines():
                            handler.handle_message(json.loads(line))
                        number += 1
                except StoreError:
                    pass  # it is not there yet; and where the store failed, the next look may find it
                if last:
                    return
                closed.wait(_LOOK_SECONDS)
        except Exception:
            handler.report_pipes_framework_exception(type(self).__name__, sys.exc_info())


def _location(store: Store, key: str) -> tuple[str, str]:
    """Bucket and full key of an object."""
    url = urlsplit(store.uri(key))
    return url.netloc, url.path.lstrip("/")
