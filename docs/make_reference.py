"""Writes what is made from models, the declaration's page and the events' schemas: python -m docs.make_reference."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lake_pipeline.dataset import Dataset
from lake_pipeline.notices.events import schemas

TARGET = Path(__file__).parent / "declaration.md"
EVENTS = Path(__file__).parent / "manifest-events.schema.json"
_HEAD = """# The dataset declaration

One YAML file a dataset, in the folder that `LAKE_DATASETS` names. `lake datasets validate PATH` checks it and names
every problem with file, line and field; unknown fields are errors. This page is made from the model that does the
checking (`python -m docs.make_reference`). What transforms do, rule by rule, is in [transforms.md](transforms.md).

Sizes are written `4GiB`, `500MB` or in bytes; durations `30s`, `15m`, `6h`, `2d` or in seconds. A dotted source path
such as `user.geo.lat` names the key `lat` of the object `geo` of the object `user`.
"""
_NAMES = {str: "text", int: "number", float: "number", bool: "true or false", timedelta: "duration"}
_EXAMPLE = """
## Example

The bundled `events`:

```yaml
{example}
```
"""


def render() -> str:
    """The page."""
    example = (Path(__file__).parents[1] / "lake_pipeline" / "datasets" / "events.yaml").read_text().strip()
    return "\n".join([_HEAD, *_sections(Dataset, ""), _EXAMPLE.format(example=example)])


def render_events() -> str:
    """The JSON Schema of each event's detail."""
    return json.dumps(schemas(), indent=2) + "\n"


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    nested: list[tuple[str, type[BaseModel]]] = []
    yield f"## {f'`{path}`' if path else 'The file'}\n\n{(model.__doc__ or '').strip()}\n"
    yield "| field | value | default | meaning |\n| --- | --- | --- | --- |"
    for name, field in model.model_fields.items():
        label = field.alias or name
        inner = _model_in(field.annotation)
        here = f"{path}.{label}" if path else label
        if inner:
            nested.append((here, inner))
        yield f"| `{label}` | {_type(field)} | {_default(field, inner)} | {_meaning(field, inner, here)} |"
    yield ""
    for here, inner in nested:
        yield from _sections(inner, here)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)


def _meaning(field: FieldInfo, inner: type[BaseModel] | None, here: str) -> str:
    text = field.description or (f"see `{here}` below" if inner else "")
    return text.replace("|", "\\|")


def _default(field: FieldInfo, inner: type[BaseModel] | None) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if inner or default is None or default is PydanticUndefined or default in ("", [], {}):
        return "none" if not inner else ""
    if isinstance(default, timedelta):
        return f"`{default.total_seconds() / 60:g}m`"
    if isinstance(default, int) and not isinstance(default, bool) and default >= 2**30:
        return f"`{default / 2**30:g}GiB`"
    if isinstance(default, int) and not isinstance(default, bool) and default >= 2**20:
        return f"`{default / 2**20:g}MiB`"
    return f"`{default}`"


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation).replace("|", "\\|")


def _type_name(annotation: Any) -> str:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None:
            return "mapping" if _model_in(annotation) else _NAMES.get(annotation, str(annotation))
        case origin if origin in (Union, UnionType):
            return " or ".join(dict.fromkeys(_type_name(item) for item in arguments if item is not type(None)))
        case origin if origin is list:
            return f"list of {_type_name(arguments[0])}"
        case origin if origin is dict:
            return f"mapping of {_type_name(arguments[0])} to {_type_name(arguments[1])}"
        case _ if getattr(get_origin(annotation), "__name__", "") == "Annotated":
            return _type_name(arguments[0])
        case _:
            return ", ".join(f"`{value}`" for value in arguments)


if __name__ == "__main__":
    TARGET.write_text(render())
    EVENTS.write_text(render_events())
