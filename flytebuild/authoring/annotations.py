"""What the SDK's annotations ask of the fields of an image and its layers; nothing checks it when they are made."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import flyte
from flyte._image import Layer


def misfit(thing: flyte.Image | Layer) -> str:
    """What is wrong with the first field whose value is not what its annotation says; nothing where all are right."""
    for name, hint in _hints(type(thing)).items():
        if found := _wrong(getattr(thing, name), hint):
            return f"`{name}` is or holds {found}"
    return ""


def _hints(kind: type[object]) -> Mapping[str, Any]:
    known = get_type_hints(kind, localns={"Secret": flyte.Secret})
    return {field.name: known[field.name] for field in fields(kind)}  # type: ignore[arg-type]


def _wrong(value: object, hint: Any) -> str:
    """Words for what does not fit, and why; nothing for what fits."""
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        options = sorted(arguments, key=lambda option: not _is_instance(value, get_origin(option) or option))
        found = [_wrong(value, option) for option in options]
        # What is wrong within a tuple says more than that it is no string.
        return "" if "" in found else found[0]
    if kind is Literal:
        return "" if value in arguments else f"`{value}`, which is none of {', '.join(map(repr, arguments))}"
    if kind is tuple and isinstance(value, tuple):
        if arguments[-1] is not Ellipsis and len(arguments) != len(value):
            return f"{len(value)} values, where {len(arguments)} are needed"
        items = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
        return next(filter(None, map(_wrong, value, items)), "")
    wanted = (str, Path) if hint is Path else kind or hint
    if hint is bool or isinstance(value, wanted):
        return ""
    if value is None:
        return f"`None`, where a `{_name(hint)}` is needed"
    return f"a `{type(value).__name__}`, where a `{_name(hint)}` is needed"


def _is_instance(value: object, kind: Any) -> bool:
    return isinstance(kind, type) and isinstance(value, kind)


def _name(hint: Any) -> str:
    return str(getattr(get_origin(hint) or hint, "__name__", hint))
