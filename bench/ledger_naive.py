"""The peer of the ledger's benchmark: one table with an index on its status, claimed with SKIP LOCKED, as first drawn.

It does less: no manifests, no versions, no leases, no outputs; each file is written three times and stays in the table.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import psycopg

from bench.ledger_work import Span, Worked, object_of

_TABLE = """
CREATE SCHEMA naive;
CREATE TABLE naive.file_processing_status (
    s3_key text PRIMARY KEY,
    etag text NOT NULL,
    size bigint NOT NULL,
    last_modified timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'PENDING',
    worker text,
    discovered_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    processed_at timestamptz,
    rows_read bigint,
    rows_written bigint,
    archived_key text
);
CREATE INDEX files_by_status ON naive.file_processing_status (status);
"""
_CLAIM = """
UPDATE naive.file_processing_status f SET status = 'PROCESSING', worker = %(worker)s, claimed_at = now()
FROM (
    SELECT s3_key FROM naive.file_processing_status WHERE status = 'PENDING' LIMIT %(most)s FOR UPDATE SKIP LOCKED
) waiting
WHERE f.s3_key = waiting.s3_key RETURNING f.s3_key
"""
_COMMIT = """
UPDATE naive.file_processing_status SET status = 'SUCCEEDED', processed_at = now(), rows_read = 10, rows_written = 10
WHERE s3_key = ANY (%s)
"""
_ARCHIVED = "UPDATE naive.file_processing_status SET archived_key = 'archive/' || s3_key WHERE s3_key = ANY (%s)"


def create(url: str) -> None:
    """Make the table, beside the ledger's own."""
    with psycopg.connect(url) as connection:
        connection.execute(_TABLE)


def register(url: str, span: Span, page: int = 10_000) -> float:
    """Insert the objects, a page a transaction; files a second."""
    start = time.monotonic()
    with psycopg.connect(url) as connection:
        for first in range(span.start, span.end, page):
            told = [object_of(number) for number in range(first, min(first + page, span.end))]
            connection.execute(
                "CREATE TEMP TABLE told (LIKE naive.file_processing_status INCLUDING DEFAULTS) ON COMMIT DROP"
            )
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY told (s3_key, etag, size, last_modified) FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.set_types(["text", "text", "int8", "timestamptz"])
                for item in told:
                    copy.write_row((item.key, item.etag, item.size, item.last_modified))
            connection.execute(
                "INSERT INTO naive.file_processing_status (s3_key, etag, size, last_modified)"
                " SELECT s3_key, etag, size, last_modified FROM told ON CONFLICT DO NOTHING"
            )
            connection.commit()
    return (span.end - span.start) / (time.monotonic() - start)


def work(url: str, workers: int, files: int) -> tuple[Worked, float]:
    """Claim and commit whatever waits, by so many processes; their seconds together, and those that passed."""
    start = time.monotonic()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        worked = list(pool.map(_worker, [url] * workers, range(workers), [files] * workers))
    claims = [second for one in worked for second in one.claims]
    commits = [second for one in worked for second in one.commits]
    return Worked(claims, commits), time.monotonic() - start


def _worker(url: str, number: int, files: int) -> Worked:
    worked = Worked([], [])
    with psycopg.connect(url) as connection:
        while True:
            start = time.monotonic()
            keys = [key for (key,) in connection.execute(_CLAIM, {"worker": f"bench-{number}", "most": files})]
            connection.commit()
            if not keys:
                return worked
            worked.claims.append(time.monotonic() - start)
            start = time.monotonic()
            connection.execute(_COMMIT, [keys])
            connection.commit()
            worked.commits.append(time.monotonic() - start)
            for some in _batches(keys):
                connection.execute(_ARCHIVED, [some])
                connection.commit()


def _batches(keys: list[str], most: int = 1000) -> Iterator[list[str]]:
    rest = iter(keys)
    while some := list(islice(rest, most)):
        yield some


def analyze(url: str) -> None:
    """What autovacuum does in its own time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) naive.file_processing_status")


def bytes_a_file(url: str) -> tuple[float, float]:
    """Of the table, and of its indexes."""
    query = """
SELECT pg_table_size(t) / n, pg_indexes_size(t) / n
FROM (SELECT 'naive.file_processing_status'::regclass AS t, count(*)::float AS n FROM naive.file_processing_status) c"""
    with psycopg.connect(url) as connection:
        table, indexes = connection.execute(query).fetchone() or (0.0, 0.0)
        return table, indexes
