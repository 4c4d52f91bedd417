"""Which Postgres holds the ledger, and what its URL is called by whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from lake_pipeline.errors import SettingsError
from lake_pipeline.settings import Settings

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://")


def database_url(settings: Settings) -> str:
    """The ledger's libpq URL; starts the embedded Postgres under `LAKE_HOME` where no URL is set.

    The embedded server stops when the last process that asked for it exits.

    Raises:
        SettingsError: `LAKE_DATABASE_URL` is not a Postgres URL.
        LedgerError: the embedded server does not start.
    """
    if settings.database_url is not None:
        return _with_scheme(settings.database_url, "postgresql")
    from lake_pipeline.ledger.embedded import attach  # the server's wheel is needed only here

    return attach(settings.home_dir).url


@contextmanager
def starting_embedded(settings: Settings) -> Iterator[None]:
    """Start the embedded Postgres, where it holds the ledger, beside the block, which is to import what is large.

    Where it does not start, whoever opens the ledger then says so.
    """
    if settings.database_url is not None:
        yield
        return
    from lake_pipeline.ledger.embedded import attach

    with ThreadPoolExecutor(1, "postgres") as pool:
        pool.submit(attach, settings.home_dir)
        yield


def revive_embedded(settings: Settings) -> None:
    """Start the embedded Postgres under `LAKE_HOME` again if it was killed; nothing where the ledger is elsewhere.

    Raises:
        LedgerError: it does not start.
    """
    # Processes that a command starts are given the embedded server's URL, which has no host but a directory.
    if settings.database_url is not None and "@/postgres?host=" not in settings.database_url:
        return
    from lake_pipeline.ledger.embedded import attach, url_of

    if settings.database_url in (None, url_of(settings.home_dir)):
        attach(settings.home_dir)


def migration_url(settings: Settings) -> str:
    """The libpq URL of the ledger's owner, which the migrations take: `LAKE_MIGRATION_DATABASE_URL`, or the ledger's.

    Raises: as `database_url` does.
    """
    if settings.migration_database_url is not None:
        return _with_scheme(settings.migration_database_url, "postgresql")
    return database_url(settings)


def import_url(settings: Settings) -> str:
    """The libpq URL of `LAKE_IMPORT_DATABASE_URL`, the database of an old system.

    Raises:
        SettingsError: it is not a Postgres URL.
    """
    return _with_scheme(settings.import_database_url or "", "postgresql", "LAKE_IMPORT_DATABASE_URL")


def sqlalchemy_url(url: str, driver: str) -> str:
    """A libpq URL as SQLAlchemy wants it, for the driver `psycopg2` or `psycopg`.

    Raises:
        SettingsError: the text is not a Postgres URL.
    """
    return _with_scheme(url, f"postgresql+{driver}")


def shown_url(url: str) -> str:
    """The URL without its passwords, for messages."""
    # From the first colon after the user to the last `@`: a password whose `@` or `/` is not encoded is one as well.
    hidden = re.sub(r"(://[^:/?#@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)


def _with_scheme(url: str, scheme: str, variable: str = "LAKE_DATABASE_URL") -> str:
    text = _SCHEME.sub(f"{scheme}://", url, count=1)
    try:
        if _SCHEME.match(url):
            conninfo_to_dict(_SCHEME.sub("postgresql://", url, count=1))
            return text
    except ProgrammingError:
        pass  # its message would show a part of the password
    raise SettingsError(
        f"{variable} must look like postgresql://user:password@host:5432/database, with every other character of"
        " a name or password than letters, digits and ._~- percent-encoded"
    ) from None
