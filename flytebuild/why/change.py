"""In what an image differs from the one before, as values, and in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct, field

from flytebuild.spec.composition import Composition
from flytebuild.spec.words import NAMED

Files: TypeAlias = Mapping[str, str]
"""A tree's files: what each path holds, as a digest or anything else that changes with it."""


class Earlier(Struct, frozen=True):
    """The image that an environment had before: its digest, what it was made of, and what is known of its trees."""

    image: str
    composition: Composition
    trees: Mapping[str, Files] = field(default_factory=dict)


class Change(Struct, frozen=True):
    """One difference. `layer` is its place among the image's steps, None for the base, the config and what is gone.

    `what` names the field that differs, `before` and `after` are its values (None: there was, or is, none), `words`
    say the same in half a sentence, and `origin` is `file:line`, where it is written, or nothing.
    """

    layer: int | None
    what: str
    words: str
    before: Any = None
    after: Any = None
    origin: str = ""


def headline(found: Sequence[Change]) -> str:
    """All changes in one line; what follows from another one, and what is too much, is left out."""
    general = {item.what for item in found if item.layer is None}
    return _line(
        f"{item.words} ({item.origin})" if item.origin else item.words
        for item in found
        if item.layer is None or not item.what.startswith("env.") or item.what not in general
    )


def by_layer(found: Sequence[Change]) -> dict[int, str]:
    """The changes of each layer that has some, in one line."""
    numbers = {item.layer for item in found if item.layer is not None}
    return {number: _line(item.words for item in found if item.layer == number) for number in numbers}


def _line(words: Iterable[str]) -> str:
    told = list(dict.fromkeys(words))
    rest = len(told) - NAMED
    return "; ".join([*told[:NAMED], *([f"and {rest} more"] if rest > 0 else [])])
