"""The ledger's values as JSON and back: pure functions.

Every value that JSON does not know carries a tag, so that a field that is new, or has gone, needs no migration: what
is missing gets its default, what is unknown is dropped. Messages of the protocol stay serialised; `keep` and `fetch`
say where, since thousands of actions share few of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import Any, TypeAlias

from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from flytebuild.runtime import model

_TAG = "~"
_ENUMS = {item.__name__: item for item in vars(model).values() if isinstance(item, type) and issubclass(item, IntEnum)}
_CLASSES: dict[str, Any] = {
    item.__name__: item for item in vars(model).values() if isinstance(item, type) and dataclasses.is_dataclass(item)
}

Keep: TypeAlias = Callable[[bytes], str]
"""Puts a serialised message away and returns what to find it by."""

Fetch: TypeAlias = Callable[[str, str], Message]
"""The message of a type, by its full name and by what `Keep` returned."""


def encode(value: model.Run | model.Action, keep: Keep) -> str:
    """A run or an action as text."""
    return json.dumps(_plain(value, keep), separators=(",", ":"), ensure_ascii=False)


def decode(text: str, fetch: Fetch) -> Any:
    """The value that `encode` was given; raises ValueError, KeyError or TypeError where the text is not one."""
    return _value(json.loads(text), fetch)


def parse_message(name: str, body: bytes) -> Message:
    """A message of a type by its full name; KeyError for one that no imported module defines."""
    message: Message = GetMessageClass(Default().FindMessageTypeByName(name)).FromString(body)
    return message


def _plain(value: Any, keep: Keep) -> Any:
    if isinstance(value, IntEnum):
        return {_TAG: type(value).__name__, "v": int(value)}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, datetime):
        return {_TAG: "time", "v": value.isoformat()}
    if isinstance(value, (tuple, list)):
        return [_plain(item, keep) for item in value]
    if isinstance(value, Message):
        return {
            _TAG: "message",
            "t": value.DESCRIPTOR.full_name,
            "v": keep(value.SerializeToString(deterministic=True)),
        }
    if dataclasses.is_dataclass(value):
        held = {
            item.name: _plain(found, keep)
            for item in dataclasses.fields(value)
            if (found := getattr(value, item.name)) != item.default or isinstance(found, IntEnum)
        }
        return {_TAG: type(value).__name__, **held}
    raise TypeError(f"a {type(value).__name__} cannot be recorded")


def _value(plain: Any, fetch: Fetch) -> Any:
    if isinstance(plain, list):
        return tuple(_value(item, fetch) for item in plain)
    if not isinstance(plain, dict):
        return plain
    tag = plain[_TAG]
    if tag == "time":
        return datetime.fromisoformat(plain["v"])
    if tag == "message":
        return fetch(plain["t"], plain["v"])
    if tag in _ENUMS:
        return _ENUMS[tag](plain["v"])
    made = _CLASSES[tag]
    known = {item.name for item in dataclasses.fields(made)}
    return made(**{name: _value(item, fetch) for name, item in plain.items() if name in known})
