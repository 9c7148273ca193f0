"""Why an image is another one than before: two compositions compared, down to the field. Pure.

A layer is the same where its kind, its fields, what its process sees and its translation are; that something below it
has changed is no change of its own. Layers are aligned like the lines of a text, and those of one kind in one place
are taken for the same layer with other fields.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct, field

from flytebuild.spec.composition import Composition
from flytebuild.spec.differences import (
    gone_requirements,
    listed_changes,
    moved_requirements,
    pin_changes,
    requirement_changes,
    unmet_requirements,
)
from flytebuild.spec.layers import Listed
from flytebuild.spec.words import NAMED, are_texts, as_mapping, differing, happened, short, shown, some

Files: TypeAlias = Mapping[str, str]
"""A tree's files: what each path holds, as a digest or anything else that changes with it."""

_LISTS = ("requirements", "packages")
"""Fields that list packages, whose items are compared by their names."""

_PINNABLE = frozenset(("pip", "requirements", "wheels", "uv-project"))
"""Kinds that become `pinned` where there is a lock."""

_NOTHING: Mapping[str, Any] = {}


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
                yield from self._layer(self.before.layers[twin], number)
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

    def _layer(self, before: Mapping[str, Any], number: int) -> Iterator[Change]:
        after: Mapping[str, Any] = self.after.layers[number]
        kind = after["kind"]
        if before.get("emitter") != after.get("emitter") or before.get("schema") != after.get("schema"):
            words = f"flytebuild makes `{kind}` layers in another way now"
            yield self._change(number, "emitter", words, before.get("emitter"), after.get("emitter"))
        names = differing(before["spec"], after["spec"])
        for name in names:
            if not (kind == "pinned" and name == "layers" and {"pins", "recipe"} & {*names}):
                yield from self._field(number, kind, name, before["spec"].get(name), after["spec"].get(name))
        if not (kind == "pinned" and "recipe" in names):  # wheel layers see nothing of the image
            yield from self._seen(number, before.get("step", _NOTHING), after.get("step", _NOTHING))

    def _field(self, number: int, kind: str, name: str, before: Any, after: Any) -> Iterator[Change]:
        if name in _LISTS and are_texts(before) and are_texts(after):
            words = "; ".join(requirement_changes(before or (), after or ()))
            yield self._change(number, name, f"{kind}: {words}", before, after)
        elif (kind, name) == ("pinned", "pins"):
            told = list(pin_changes(before, after))
            rest = [f"and {len(told) - NAMED} more"] if len(told) > NAMED else []
            yield self._change(number, name, f"pip: {'; '.join([*told[:NAMED], *rest])}", before, after)
        elif kind == "pinned":
            words = "comes as other wheel layers"
            if name == "recipe":
                words = "comes as wheel layers now" if after == "layers" else "is installed by a step now"
            yield self._change(number, name, f"`{self._summary(number)}` {words}", before, after)
        elif name == "tree" and before and after:
            yield from self._tree(number, before, after)
        elif name == "packages":
            yield from self._local_packages(number, before or (), after or ())
        elif (kind, name) == ("dockerfile", "file"):
            yield self._change(number, name, "the Dockerfile changed", before, after)
        else:
            old, new = (shown(item) for item in (before, after))
            yield self._change(number, name, f"{kind}: {name} {old} → {new}", before, after)

    def _tree(self, number: int, before: str, after: str) -> Iterator[Change]:
        """The packages that files list, where both sides are known, and what else became of a tree's files."""
        listed = list(self._packages(number, before))
        yield from listed
        without = {item.path for item in self._listing(number)} if listed else frozenset()
        words = self._files(before, after, self._called(number), without)
        if words or not listed:
            words = words or f"files of `{self._summary(number)}` changed"
            yield self._change(number, "tree", words, before, after)

    def _packages(self, number: int, before: str) -> Iterator[Change]:
        """What became of the packages that files list, each in the line where it is."""
        old, new = self.before.listed.get(before), self._listing(number)
        if old is None or not new:
            return
        for path in dict.fromkeys([*(item.path for item in new), *old]):
            here = {item.text: item.place for item in new if item.path == path}
            file = next(iter(here.values()), self._called(number).get(path, path)).partition(":")[0]
            for words, was, text in listed_changes(old.get(path, ()), list(here)):
                told = f"{file.rpartition('/')[2]}: {words}"
                yield Change(number, "requirement", told, was, text, here[text] if text else file)

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

    def _local_packages(self, number: int, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Change]:
        old, new = ({item["path"]: item["tree"] for item in items} for items in (before, after))
        for path in differing(old, new):
            words = f"local package `{path}` {happened(old, new, path)}"
            if path in old and path in new and (files := self._files(old[path], new[path])):
                words = f"local package `{path}`: {files}"
            yield self._change(number, "packages", words, old.get(path), new.get(path))

    def _called(self, number: int) -> Mapping[str, str]:
        """What the user calls a requirements file, whatever its name in the tree is."""
        layer, (kind, _, name) = self.after.layers[number], self._summary(number).partition(": ")
        return {layer["spec"]["file"]: name} if layer["kind"] == kind == "requirements" and name else _NOTHING

    def _files(
        self,
        before: str,
        after: str,
        called: Mapping[str, str] = _NOTHING,
        without: Collection[str] = frozenset(),
    ) -> str:
        """What happened to the files of a tree, but some, by their paths or what they are `called`.

        Nothing where that is not known.
        """
        old, new = self.trees.get(before), self.trees.get(after)
        paths = differing(old, new) if old is not None and new is not None else []
        paths = [path for path in paths if path not in without]
        if old is None or new is None or not paths:
            return ""
        if len(paths) == 1:
            return f"`{called.get(paths[0], paths[0])}` {happened(old, new, paths[0])}"
        return f"{len(paths)} files changed: {some([called.get(path, path) for path in paths])}"

    def _seen(self, number: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
        """What a step sees; variables only by their names, since people put into them what is nobody's business."""
        for name in differing(before.get("env", _NOTHING), after.get("env", _NOTHING)):
            yield self._change(number, f"env.{name}", f"`{self._summary(number)}` sees another `{name}`")
        for name, what in (("cwd", "runs in"), ("user", "runs as")):
            if before.get(name) != after.get(name):
                words = f"`{self._summary(number)}` {what} `{after.get(name)}` instead of `{before.get(name)}`"
                yield self._change(number, name, words, before.get(name), after.get(name))

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


def layer_name(layer: Mapping[str, Any]) -> str:
    """What a layer is called of which there is nothing but its document: its kind, and the packages that it lists."""
    spec = layer["spec"]
    if layer["kind"] == "pinned":
        return "pip: " + ", ".join(f"{pin['name']}=={pin['version']}" for pin in spec["pins"])
    listed = next((spec[name] for name in _LISTS if name in spec), ())
    return f"{layer['kind']}: {', '.join(listed)}" if listed and are_texts(listed) else str(layer["kind"])


def _pins(layers: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """The recipe that each wheel comes by; a wheel by its name and its hash."""
    specs = [layer["spec"] for layer in layers]
    return {(pin["name"], pin["sha256"]): spec["recipe"] for spec in specs for pin in spec["pins"]}
