"""Athena's partition projection, from a declaration: partitions that are computed in place of looked up; pure.

https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html says what each property takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lake_pipeline.catalog.hive import partition_values
from lake_pipeline.output import Output, ProjectedKey, partition_keys


def projection_parameters(output: Output, location: str) -> dict[str, str]:
    """The table's parameters; none where nothing is projected. `location` is the table's, with a slash at its end."""
    if output.projection is None:
        return {}
    parameters = {"projection.enabled": "true"}
    template = location
    for key, _, _ in partition_keys(output.partition_by):
        name, projected = key.lower(), output.projection[key]
        template += f"{key}=${{{name}}}/"
        if projected.numbers is not None:
            parameters[f"projection.{name}.type"] = "integer"
            parameters[f"projection.{name}.range"] = f"{projected.first},{projected.last}"
        elif projected.values is not None:
            parameters[f"projection.{name}.type"] = "enum"
            parameters[f"projection.{name}.values"] = ",".join(projected.values)
        else:
            parameters[f"projection.{name}.type"] = "injected"
    return parameters | {"storage.location.template": template}


def outside(output: Output, partitions: Iterable[str]) -> Iterator[str]:
    """Partitions such as `year=1999` that the declared projection does not compute, so that no query finds them."""
    if output.projection is None:
        return
    keys = [output.projection[key] for key, _, _ in partition_keys(output.partition_by)]
    for partition in partitions:
        folders = partition.split("/")
        values = partition_values(partition)
        if not all(
            _computed(key, value, folder.partition("=")[2])
            for key, value, folder in zip(keys, values, folders, strict=True)
        ):
            yield partition


def _computed(key: ProjectedKey, value: str, folder: str) -> bool:
    if key.numbers is not None:
        return value.lstrip("-").isdigit() and int(value) in key.numbers
    # Athena puts the value into the location as it is, so a folder that had to be encoded is never found.
    return value == folder and (key.values is None or value in key.values)
