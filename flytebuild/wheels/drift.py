"""What a lock lacks of images: which layers, of which environments, and what has changed of them since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import groupby

from flytebuild.spec.differences import requirement_changes
from flytebuild.wheels.lock import Lock, Specs, Unlocked
from flytebuild.wheels.questions import questions

_PIP = "pip: "


def drift(specs: Specs, lock: Lock, left: Iterable[Unlocked]) -> tuple[str, ...]:
    """A line for each layer that the lock has in another form, or not at all; `left` as `apply` gives it."""
    current = {
        question.fingerprint for found in specs.values() for spec in found.values() for question in questions(spec)
    }
    found: dict[tuple[str, str], list[str]] = {}
    drifted = (item for item in left if item.is_drift)
    for (environment, platform), items in groupby(drifted, lambda item: (item.environment, item.platform)):
        first, *above = items
        # What is on top of a layer that has changed is another question as well, and is not named for that.
        stale = [
            layer.asked
            for layer in lock.layers
            if environment in layer.environments and layer.platform == platform and layer.fingerprint not in current
        ]
        told = _since(first.question.layer.summary, stale, {item.question.layer.summary for item in above})
        told += " and what is on top of it" if above else ""
        found.setdefault((first.question.shown, told), []).append(environment)
    return tuple(f"{shown} of {_named(names)}{told}" for (shown, told), names in found.items())


def _since(asked: str, stale: Sequence[str], above: set[str]) -> str:
    """In what a layer differs from the one that was locked in its place, in brackets; nothing where it is new."""
    if asked in stale:
        return " (what it reads, or what is below it, has changed since it was locked)"
    before = get_close_matches(asked, [item for item in stale if item not in above], 1, 0)
    if not before:
        return ""
    if asked.startswith(_PIP) and before[0].startswith(_PIP):
        old, new = (item.removeprefix(_PIP).split(", ") for item in (before[0], asked))
        return f" ({'; '.join(requirement_changes(old, new))} since it was locked)"
    return f" (it was `{before[0]}` when it was locked)"


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))
