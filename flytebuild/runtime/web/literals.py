"""Flyte's literals as plain JSON values, for the page and for our own command line.

Numbers that JSON has no word for become the words of protobuf's own JSON: `"NaN"`, `"Infinity"`, `"-Infinity"`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal, Scalar
    from flyteidl2.task.common_pb2 import NamedLiteral


def named(literals: Iterable[NamedLiteral]) -> dict[str, object]:
    """Inputs or outputs by name."""
    return {item.name: plain(item.value) for item in literals}


def plain(literal: Literal) -> object:
    """One literal. Files and folders become their address; what JSON cannot say is described."""
    kind = literal.WhichOneof("value")
    if kind == "collection":
        return [plain(item) for item in literal.collection.literals]
    if kind == "map":
        return {key: plain(value) for key, value in literal.map.literals.items()}
    if kind == "scalar":
        return _scalar(literal.scalar)
    if kind == "offloaded_metadata":
        return literal.offloaded_metadata.uri
    return None


def _scalar(scalar: Scalar) -> object:
    kind = scalar.WhichOneof("value")
    if kind == "primitive":
        return _primitive(scalar.primitive)
    if kind == "blob":
        return scalar.blob.uri
    if kind == "structured_dataset":
        return scalar.structured_dataset.uri
    if kind == "schema":
        return scalar.schema.uri
    if kind == "union":
        return plain(scalar.union.value)
    if kind == "generic":
        from google.protobuf.json_format import MessageToDict

        return MessageToDict(scalar.generic)
    if kind == "binary":
        return _binary(scalar.binary.value, scalar.binary.tag)
    if kind == "error":
        return scalar.error.message
    return None


def _primitive(primitive: Any) -> object:
    kind = primitive.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(primitive, kind)
    return value.ToJsonString() if kind in ("datetime", "duration") else _json(value)


def _binary(content: bytes, tag: str) -> object:
    """Dataclasses and models travel as MessagePack, which flyte itself brings a reader of."""
    if tag == "msgpack":
        import msgpack  # type: ignore[import-untyped]

        try:
            value: object = msgpack.unpackb(content, strict_map_key=False)
        except (ValueError, TypeError):
            pass
        else:
            return _json(value)
    return _described(content, tag)


def _json(value: object) -> object:
    """A value of MessagePack's as one of JSON's."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return _described(value, "")
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(_json(key)): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return str(value)


def _described(content: bytes, tag: str) -> str:
    return f"<{len(content)} bytes{f' of {tag}' if tag else ''}>"
