"""Two compositions compared: bases, settings, and layers, which are aligned like the lines of a text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from flytebuild.spec.composition import Composition
from flytebuild.spec.differences import gone_requirements, moved_requirements, unmet_requirements
from flytebuild.spec.layers import Listed
from flytebuild.spec.words import as_mapping, differing, happened, short, some
from flytebuild.why.change import Change, Files
from flytebuild.why.layer import LayerPair, layer_name

_PINNABLE = frozenset(("pip", "requirements", "wheels", "uv-project"))
"""Kinds that become `pinned` where there is a lock."""

_NOTHING: Mapping[str, Any] = {}


def changes(
    before: Composition,
    after: Composition,
    *,
    base: str = "",
    summaries: Sequence[str] = (),
    origins: Sequence[str] = (),
    trees: Mapping[str, Files] = _NOTHING,
    listings: Sequence[Sequence[Listed]] = (),
    places: Mapping[str, str] = _NOTHING,
) -> tuple[Change, ...]:
    """What makes `after` another image than `before`, from the base up; nothing where they are the same.

    `base` is the name of the base; `summaries`, `origins` and `listings` (the packages that each asks for) tell of the
    layers of `after`, in their order, and `places` where its settings are written. `trees` has the files of those trees
    that are known, by their digests.
    """
    comparison = _Comparison(
        before, after, base, tuple(summaries), tuple(origins), trees, tuple(map(tuple, listings)), places
    )
    return tuple(comparison.changes())


class _Comparison(Struct, frozen=True):
    before: Composition
    after: Composition
    base: str
    summaries: tuple[str, ...]
    origins: tuple[str, ...]
    trees: Mapping[str, Files]
    listings: tuple[tuple[Listed, ...], ...]
    places: Mapping[str, str]

    def changes(self) -> Iterator[Change]:
        from difflib import SequenceMatcher

        yield from self._base()
        yield from self._config()
        old, new = ([_key(layer) for layer in item.layers] for item in (self.before, self.after))
        for tag, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if tag != "equal":
                yield from self._replaced(range(old_from, old_to), range(new_from, new_to))

    def _base(self) -> Iterator[Change]:
        before, after = self.before.base, self.after.base
        if before.get("platform") != after.get("platform"):
            old, new = before.get("platform"), after.get("platform")
            yield Change(None, "platform", f"platform {old} → {new}", old, new)
        old, new = (item.get("image") or item.get("unresolved") for item in (before, after))
        if old != new:
            words = f"base {self.base} moved {short(old)} → {short(new)}"
            yield Change(None, "base", words.replace("  ", " "), old, new)
        if before.get("schema") != after.get("schema"):
            yield Change(None, "schema", "flytebuild describes images in another way now")

    def _replaced(self, old: range, new: range) -> Iterator[Change]:
        """Layers in the place of others: those of one kind are the same with other fields, in their order."""
        if moved := self._other_recipes(old, new):
            yield moved
            return
        waiting = list(old)
        locked: set[str] = set()
        for number in new:
            kind = self.after.layers[number]["kind"]
            twin = next((item for item in waiting if self.before.layers[item]["kind"] == kind), None)
            if twin is None:
                twin = next((item for item in waiting if _is_pin_of(self.before.layers[item]["kind"], kind)), None)
            if twin is None:
                is_rest = kind == "pinned" and self._origin(number) in locked
                words = "is locked now" if is_rest else "is new"
                yield self._change(number, "layer", f"`{self._summary(number)}` {words}")
                continue
            waiting.remove(twin)
            if self.before.layers[twin]["kind"] == kind:
                yield from self._pair(self.before.layers[twin], number).changes()
                continue
            if kind == "pinned":
                # A lock may make two layers of one: what replaces packages below, and the rest.
                locked.update(filter(None, [self._origin(number)]))
                words = self._locked(self.before.layers[twin], number)
            else:
                words = _unlocked(self.before.layers[twin], self.after.layers[number])
            yield self._change(number, "layer", f"`{self._summary(number)}` {words}")
        for item in waiting:
            yield Change(None, "layer", f"`{layer_name(self.before.layers[item])}` is not in it any more")

    def _other_recipes(self, old: range, new: range) -> Change | None:
        """The same wheels, of which others come as wheel layers now; None where that is not all that differs."""
        before, after = (
            [layers[number] for number in numbers]
            for layers, numbers in ((self.before.layers, old), (self.after.layers, new))
        )
        if len(before) == len(after) or {layer["kind"] for layer in (*before, *after)} != {"pinned"}:
            return None
        if _pins(before).keys() != _pins(after).keys():
            return None
        old_merged, merged = (
            {name for (name, _), recipe in _pins(found).items() if recipe == "layers"} for found in (before, after)
        )
        moves = ((merged - old_merged, "now in wheel layers"), (old_merged - merged, "now installed by a step"))
        said = [f"{some(sorted(names))} {words}" for names, words in moves if names]
        return self._change(new.start, "recipe", f"pip: {'; '.join(said)}") if said else None

    def _pair(self, before: Mapping[str, Any], number: int) -> LayerPair:
        after, summary, origin = self.after.layers[number], self._summary(number), self._origin(number)
        listing, listed = self._listing(number), self.before.listed
        return LayerPair(number, before, after, summary, origin, listing, listed, self.trees)

    def _listing(self, number: int) -> tuple[Listed, ...]:
        return self.listings[number] if number < len(self.listings) else ()

    def _locked(self, before: Mapping[str, Any], number: int) -> str:
        """That a lock counts from now on, and what is otherwise than it was asked for before, where that is known."""
        old, pins = self.before.asked(before), self.after.layers[number]["spec"]["pins"]
        said = [*moved_requirements(old, pins)]
        if new := [item.text for item in self._listing(number)]:
            # What nobody asks for any more may come along all the same.
            said += gone_requirements(old, [*new, *(pin["name"] for pin in pins)])
        return f"is locked now ({'; '.join(said)})" if said else "is locked now"

    def _config(self) -> Iterator[Change]:
        before, after = self.before.config, self.after.config
        for name in differing(as_mapping(before.get("env")), as_mapping(after.get("env"))):
            words = f"variable `{name}` {happened(before.get('env'), after.get('env'), name)}"
            yield Change(None, f"env.{name}", words, origin=self.places.get(f"env.{name}", ""))
        for name in sorted({*before, *after} - {"env", "schema"}):
            if before.get(name) != after.get(name):
                words, origin = f"`{name}` of its config changed", self.places.get(name, "")
                yield Change(None, name, words, before.get(name), after.get(name), origin)

    def _change(self, number: int, what: str, words: str, before: Any = None, after: Any = None) -> Change:
        return Change(number, what, words, before, after, self._origin(number))

    def _origin(self, number: int) -> str:
        return self.origins[number] if number < len(self.origins) else ""

    def _summary(self, number: int) -> str:
        return self.summaries[number] if number < len(self.summaries) else layer_name(self.after.layers[number])


def _key(layer: Mapping[str, Any]) -> str:
    """A layer but for what lies below it."""
    return json.dumps({name: value for name, value in layer.items() if name != "parent"}, sort_keys=True)


def _is_pin_of(before: str, after: str) -> bool:
    """Whether layers of these kinds may be the same one, without a lock and with one."""
    return (before == "pinned" and after in _PINNABLE) or (after == "pinned" and before in _PINNABLE)


def _unlocked(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """That a lock does not count any more, and for which requirements that is so, where they tell."""
    unmet = list(unmet_requirements(before["spec"]["pins"], after["spec"].get("requirements", ())))
    return f"is not locked any more ({'; '.join(unmet)})" if unmet else "is not locked any more"


def _pins(layers: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The recipe that each wheel comes by; a wheel by its name and its hash."""
    specs = [layer["spec"] for layer in layers]
    return {(pin["name"], pin["sha256"]): spec["recipe"] for spec in specs for pin in spec["pins"]}
