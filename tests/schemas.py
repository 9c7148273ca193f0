"""What commands print as JSON, against the schemas in docs/schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def validated(text: str) -> Any:
    """A document that is what its schema says, and has no field that its schema does not know."""
    document = json.loads(text)
    assert _validator(document["schema"]).is_valid(document) or _complain(document)
    return document


def _complain(document: Any) -> bool:
    found = (f"{item.json_path}: {item.message}" for item in _validator(document["schema"]).iter_errors(document))
    raise AssertionError("\n".join((document["schema"], *found)))


@cache
def _validator(name: str) -> Draft202012Validator:
    file = f"{name.removeprefix('flytebuild.').replace('/', '-')}.json"
    registry = Registry().with_resources(
        (item.name, Resource.from_contents(_closed(json.loads(item.read_text("utf-8"))))) for item in FOLDER.iterdir()
    )
    return Draft202012Validator(registry.contents(file), registry=registry, format_checker=FormatChecker())


def _closed(schema: Any) -> Any:
    """A schema that allows no other fields: whoever reads a document must expect more of them, and its writer none."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema else closed
