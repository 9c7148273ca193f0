"""Objects of the user's code: live ones, looked into without running anything, and those that are only thought of."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import TypeAlias

from msgspec import Struct

from flytebuild.check.subject import Known

Values: TypeAlias = tuple[object, ...]
"""Everything that an expression may stand for; nothing where that is unknown."""

_CONTAINERS = (list, tuple, set, frozenset, dict)


class Instance(Struct, frozen=True):
    """An object that the code makes of a class of the user's."""

    of: type


@dataclass(frozen=True, slots=True)
class Bound:
    """A method of the user's with what it is called on."""

    function: FunctionType
    owner: object


class OneOf(Struct, frozen=True):
    """One of several things, chosen by a value that is not known."""

    value: object


def identity(value: object) -> object:
    """What tells a value from others: of what is only thought of here, what it is made of."""
    match value:
        case Instance(of=of):
            return "instance", id(of)
        case Bound(function=function, owner=owner):
            return "bound", id(function), identity(owner)
        case OneOf(value=inner):
            return "one of", identity(inner)
        case _:
            return id(value)


def called(value: object, known: Known) -> Values:
    """The method by which an object of a class of the user's is called."""
    owner = value.of if isinstance(value, Instance) else type(value)
    return member(owner, "__call__", value) if known.is_users(file_of(owner)) else ()


def member(owner: type, name: str, on: object) -> Values:
    """An attribute of a class, without running anything."""
    found = inspect.getattr_static(owner, name, None)
    match found:
        case None | property():
            return ()
        case staticmethod():
            return (found.__func__,)
        case classmethod():
            return (Bound(found.__func__, owner),) if isinstance(found.__func__, FunctionType) else ()
        case FunctionType():
            return (found,) if on is owner else (Bound(found, on),)
        case _:
            return (found,)


def held_in(value: object) -> Iterator[object]:
    """What is in a live container, and in the tuples and lists in that."""
    if isinstance(value, _CONTAINERS):
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, tuple | list):
                yield from item
            else:
                yield item


def closure(function: FunctionType) -> dict[str, object]:
    """What a function's free variables are, by their names."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:
            # Not set yet: a function that names what is made after it.
            continue
    return found


def file_of(owner: type) -> str:
    """The file of the module that a class is of; nothing where that has none."""
    module = sys.modules.get(owner.__module__)
    return getattr(module, "__file__", None) or ""


def distinct(several: Iterable[Iterable[object]]) -> Values:
    """All the values of several, each once."""
    return tuple({identity(value): value for values in several for value in values}.values())
