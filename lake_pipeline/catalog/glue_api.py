"""Glue's tables and partitions as they are wanted, whoever else is at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lake_pipeline.catalog.glue_tables import OWNER, Document, evolved, owned, refuse_foreign
from lake_pipeline.errors import CatalogError
from lake_pipeline.store import batched

# Glue's limits on one request, as its API reference has them for BatchCreatePartition and BatchDeletePartition.
_ADDED_AT_ONCE = 100
_DELETED_AT_ONCE = 25
# Someone's change in between makes an update of ours one of an old version: read again, but not for ever.
_RACES = 5
_RACED = ("ConcurrentModificationException", "VersionMismatchException")


@contextmanager
def glue_errors(name: str) -> Iterator[None]:
    """What AWS refuses in the block, as a CatalogError about the table `name`."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise CatalogError(f"{name}: {error}") from error


def find_table(glue: Any, database: str, name: str) -> Document | None:
    """The table as Glue describes it."""
    try:
        table: Document = glue.get_table(DatabaseName=database, Name=name)["Table"]
    except glue.exceptions.EntityNotFoundException:
        return None
    return table


def settle_table(glue: Any, database: str, wanted: Document) -> Document:
    """Make or evolve a dataset's table; what it is then.

    Raises:
        CatalogConflict: the table is someone else's, or was changed by someone so that it cannot be evolved.
    """
    for race in range(_RACES):
        table = find_table(glue, database, wanted["Name"])
        if table is None:
            create_table(glue, database, wanted)
        elif table.get("TableType") == "VIRTUAL_VIEW" and owned(table, wanted["Parameters"][OWNER]):
            glue.delete_table(
                DatabaseName=database, Name=wanted["Name"]
            )  # the dataset was deduplicated, and is no more
        elif (change := evolved(table, wanted)) is None:
            return table
        else:
            try:
                glue.update_table(DatabaseName=database, TableInput=change, VersionId=table["VersionId"])
            except ClientError as error:
                if error.response["Error"]["Code"] not in _RACED or race + 1 == _RACES:
                    raise
    raise CatalogError(f"{wanted['Name']}: someone changed the table {_RACES} times while it was to be updated")


def create_table(glue: Any, database: str, wanted: Document) -> None:
    """Make a table, and its database where there is none; what another process makes meanwhile is as good."""
    with suppress(glue.exceptions.AlreadyExistsException):
        try:
            glue.create_table(DatabaseName=database, TableInput=wanted)
        except glue.exceptions.EntityNotFoundException:
            with suppress(glue.exceptions.AlreadyExistsException):
                glue.create_database(DatabaseInput={"Name": database, "Description": "Tables of the lake."})
            glue.create_table(DatabaseName=database, TableInput=wanted)


def replace_table(glue: Any, database: str, wanted: Document) -> None:
    """Make a table what is wanted, with what someone added to its parameters and description.

    Raises:
        CatalogConflict: the table is someone else's.
    """
    table = find_table(glue, database, wanted["Name"])
    if table is None:
        create_table(glue, database, wanted)
        return
    refuse_foreign(table, wanted["Parameters"][OWNER])
    kept = {"Description": table["Description"]} if table.get("Description") else {}
    change = kept | wanted | {"Parameters": table["Parameters"] | wanted["Parameters"]}
    glue.update_table(DatabaseName=database, TableInput=change, VersionId=table["VersionId"])


def add_partitions(glue: Any, database: str, table: str, partitions: list[Document]) -> None:
    """Add partitions; those that are there already are as good.

    Raises:
        CatalogError: Glue refused one; the message says why.
    """
    for page in batched(partitions, _ADDED_AT_ONCE):
        answer = glue.batch_create_partition(DatabaseName=database, TableName=table, PartitionInputList=page)
        _refuse(table, answer, "AlreadyExistsException")


def delete_partitions(glue: Any, database: str, table: str, partitions: list[list[str]]) -> None:
    """Delete partitions by their values; those that are gone already are as good.

    Raises:
        CatalogError: Glue refused one; the message says why.
    """
    for page in batched(partitions, _DELETED_AT_ONCE):
        values = [{"Values": item} for item in page]
        answer = glue.batch_delete_partition(DatabaseName=database, TableName=table, PartitionsToDelete=values)
        _refuse(table, answer, "EntityNotFoundException")


def _refuse(table: str, answer: Document, harmless: str) -> None:
    for error in answer.get("Errors", []):
        detail = error["ErrorDetail"]
        if detail["ErrorCode"] != harmless:
            values = "/".join(error["PartitionValues"])
            raise CatalogError(f"{table} {values}: {detail['ErrorCode']}: {detail.get('ErrorMessage', '')}")
