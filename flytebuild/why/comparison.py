"""Two compositions compared: bases, settings, and layers, which are aligned like the lines of a text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from flytebuild.spec.composition import Composition, Listings, by_file
from flytebuild.spec.layers import Listed
from flytebuild.spec.words import as_mapping, differing, happened, short, some
from flytebuild.why.change import Change, Files
from flytebuild.why.layer import APART, LayerPair, is_untouched, layer_name
from flytebuild.why.pins import locked, unlocked

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
    folders: Sequence[str] = (),
    places: Mapping[str, str] = _NOTHING,
) -> tuple[Change, ...]:
    """What makes `after` another image than `before`, from the base up; nothing where they are the same.

    `base` is the name of the base; `summaries`, `origins`, `listings` (the packages that each asks for) and `folders`
    (how the paths of its files begin on the host) tell of the layers of `after`, in their order, and `places` where its
    settings are written. `trees` has the files of those trees that are known, by their digests.
    """
    comparison = _Comparison(
        before,
        after,
        base,
        tuple(summaries),
        tuple(origins),
        trees,
        tuple(map(tuple, listings)),
        tuple(folders),
        places,
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
    folders: tuple[str, ...]
    places: Mapping[str, str]

    def changes(self) -> Iterator[Change]:
        found = [*self._base(), *self._config(), *self._layers()]
        yield from found or self._ground()

    def _layers(self) -> Iterator[Change]:
        from difflib import SequenceMatcher

        images = (self.before, self.after)
        # An image that is put on top of its base as it is has none, and is no other one for that.
        skipped = {"venv"} if len({is_untouched(item.layers) for item in images}) > 1 else set()
        old, new = ([n for n, layer in enumerate(item.layers) if layer["kind"] not in skipped] for item in images)
        before, after = ([_key(item.layers[n]) for n in found] for item, found in zip(images, (old, new), strict=True))
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
            if tag != "equal":
                yield from self._replaced(old[old_from:old_to], new[new_from:new_to])

    def _ground(self) -> Iterator[Change]:
        """What an image is put on: its base without a look into it, or what is made of that."""
        before, after = (is_untouched(item.layers) for item in (self.before, self.after))
        if before != after:
            words = "its base is unpacked for it now: uv is no layer of its own any more"
            if after:
                words = "its base is no longer unpacked for it: uv is a layer of its own now"
            yield self._change(0, APART, words, before, after)

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

    def _replaced(self, old: Sequence[int], new: Sequence[int]) -> Iterator[Change]:
        """Layers in the place of others: those of one kind are the same with other fields, in their order."""
        if moved := self._other_recipes(old, new):
            yield moved
            return
        waiting = list(old)
        known: set[str] = set()
        for number in new:
            kind = self.after.layers[number]["kind"]
            twin = next((item for item in waiting if self.before.layers[item]["kind"] == kind), None)
            if twin is None:
                twin = next((item for item in waiting if _is_pin_of(self.before.layers[item]["kind"], kind)), None)
            if twin is None:
                is_rest = kind == "pinned" and self._origin(number) in known
                words = "is locked now" if is_rest else "is new"
                yield self._change(number, "layer", f"`{self._summary(number)}` {words}")
                continue
            waiting.remove(twin)
            if self.before.layers[twin]["kind"] == kind:
                yield from self._pair(twin, number).changes()
            elif kind == "pinned":
                # A lock may make two layers of one: what replaces packages below, and the rest.
                known.update(filter(None, [self._origin(number)]))
                yield self._locked(twin, number)
            else:
                if (rest := _rest(self.before, twin)) in waiting:
                    waiting.remove(rest)
                yield from self._unlocked(twin, number)
        for item in waiting:
            yield Change(None, "layer", f"`{layer_name(self.before.layers[item])}` is not in it any more")

    def _other_recipes(self, old: Sequence[int], new: Sequence[int]) -> Change | None:
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
        return self._change(new[0], "recipe", f"pip: {'; '.join(said)}") if said else None

    def _pair(self, twin: int, number: int) -> LayerPair:
        before, after = self.before.layers[twin], self.after.layers[number]
        return LayerPair(
            number,
            before,
            after,
            self._summary(number),
            self._origin(number),
            self._listing(number),
            _asked(self.before, twin),
            self.folders[number] if number < len(self.folders) else "",
            self.trees,
        )

    def _locked(self, twin: int, number: int) -> Change:
        pins = _pins_of(self.after, number)
        wanted = by_file(self._listing(number)) or _asked(self.after, number)
        words = locked(self.before.listings(self.before.layers[twin]), pins, wanted)
        return self._change(number, "layer", f"`{self._summary(number)}` {words}")

    def _unlocked(self, twin: int, number: int) -> Iterator[Change]:
        """What was edited comes first: that the lock does not have it follows."""
        pins, origin = _pins_of(self.before, twin), self._origin(number)
        moved = unlocked(number, origin, _asked(self.before, twin), pins, self._listing(number))
        yield from moved
        if moved:
            yield Change(number, "layer", "not locked any more")
        else:
            yield self._change(number, "layer", f"`{self._summary(number)}` is not locked any more")

    def _listing(self, number: int) -> tuple[Listed, ...]:
        """What a layer asks for; what replaces packages below asks for the same as the rest."""
        found = self.listings[number] if number < len(self.listings) else ()
        if found or (rest := _rest(self.after, number)) is None or rest >= len(self.listings):
            return found
        return self.listings[rest]

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
    """A layer but for what lies below it, and for whether it is made apart from that."""
    spec = {name: value for name, value in layer["spec"].items() if name != APART}
    return json.dumps({**layer, "parent": None, "spec": spec}, sort_keys=True)


def _is_pin_of(before: str, after: str) -> bool:
    """Whether layers of these kinds may be the same one, without a lock and with one."""
    return (before == "pinned" and after in _PINNABLE) or (after == "pinned" and before in _PINNABLE)


def _rest(image: Composition, number: int) -> int | None:
    """The locked layer that has what the same packages brought along, where this one has but what replaces others.

    That is the next one, of which is known what it was asked for, as it is not of this one.
    """
    layers, rest = image.layers, number + 1
    if layers[number]["kind"] != "pinned" or rest >= len(layers) or layers[rest]["kind"] != "pinned":
        return None
    is_part = image.listings(layers[number]) is None and image.listings(layers[rest]) is not None
    return rest if is_part else None


def _asked(image: Composition, number: int) -> Listings | None:
    """What a layer was asked for, or the one that it is a part of."""
    rest = _rest(image, number)
    return image.listings(image.layers[number if rest is None else rest])


def _pins_of(image: Composition, number: int) -> list[Mapping[str, Any]]:
    """The pins of a layer, and of the rest that it is a part of."""
    rest = _rest(image, number)
    parts = [number] if rest is None else [number, rest]
    return [pin for part in parts for pin in image.layers[part]["spec"]["pins"]]


def _pins(layers: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The recipe that each wheel comes by; a wheel by its name and its hash."""
    specs = [layer["spec"] for layer in layers]
    return {(pin["name"], pin["sha256"]): spec["recipe"] for spec in specs for pin in spec["pins"]}
