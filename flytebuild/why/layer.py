"""In what one layer of an image differs from the one that was in its place, field by field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from flytebuild.spec.composition import Listings
from flytebuild.spec.differences import requirement_changes
from flytebuild.spec.layers import Listed
from flytebuild.spec.words import are_texts, differing, happened, shown, some
from flytebuild.why.change import Change, Files
from flytebuild.why.listings import listed_in_files
from flytebuild.why.pins import other_pins

_LISTS = ("requirements", "packages")
"""Fields that list packages, whose items are compared by their names."""

APART = "apart"
"""Whether the program of uv is a layer of its own: it follows from all else that an image is, its base included."""

_NOTHING: Mapping[str, Any] = {}


def layer_name(layer: Mapping[str, Any]) -> str:
    """What a layer is called of which there is nothing but its document: its kind, and the packages that it lists."""
    spec = layer["spec"]
    if layer["kind"] == "pinned":
        return "pip: " + ", ".join(f"{pin['name']}=={pin['version']}" for pin in spec["pins"])
    listed = next((spec[name] for name in _LISTS if name in spec), ())
    return f"{layer['kind']}: {', '.join(listed)}" if listed and are_texts(listed) else str(layer["kind"])


def is_untouched(layers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an image is put on top of its base as it is, by its layers' documents."""
    return any(layer["spec"].get(APART, False) for layer in layers)


class LayerPair(Struct, frozen=True):
    """A layer and the one before, of the same kind, as their documents.

    `number`, `summary`, `origin` and `listing` (the packages that it asks for) are those of the layer; `asked` is what
    the one before asked for (`Composition.listings`), `folder` is how the paths of its files begin on the host, and
    `trees` has the files of both.
    """

    number: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    summary: str
    origin: str
    listing: tuple[Listed, ...]
    asked: Listings | None
    folder: str
    trees: Mapping[str, Files]

    def changes(self) -> Iterator[Change]:
        """What differs, and is no consequence of another difference."""
        before, after, kind = self.before, self.after, self.after["kind"]
        if before.get("emitter") != after.get("emitter") or before.get("schema") != after.get("schema"):
            words = f"flytebuild makes `{kind}` layers in another way now"
            yield self._change("emitter", words, before.get("emitter"), after.get("emitter"))
        names = [name for name in differing(before["spec"], after["spec"]) if name != APART]
        for name in names:
            if not (kind == "pinned" and name == "layers" and {"pins", "recipe"} & {*names}):
                yield from self._field(kind, name, before["spec"].get(name), after["spec"].get(name))
        if not (kind == "pinned" and "recipe" in names):  # wheel layers see nothing of the image
            yield from self._seen(before.get("step", _NOTHING), after.get("step", _NOTHING))

    def _field(self, kind: str, name: str, before: Any, after: Any) -> Iterator[Change]:
        if name in _LISTS and are_texts(before) and are_texts(after):
            words = "; ".join(requirement_changes(before or (), after or ()))
            yield self._change(name, f"{kind}: {words}", before, after)
        elif (kind, name) == ("pinned", "pins"):
            yield from other_pins(self.number, self.origin, self.asked, self.listing, before, after)
        elif kind == "pinned":
            words = "comes as other wheel layers"
            if name == "recipe":
                words = "comes as wheel layers now" if after == "layers" else "is installed by a step now"
            yield self._change(name, f"`{self.summary}` {words}", before, after)
        elif name == "tree" and before and after:
            yield from self._tree(before, after)
        elif name == "packages":
            yield from self._local_packages(before or (), after or ())
        elif (kind, name) == ("dockerfile", "file"):
            yield self._change(name, "the Dockerfile changed", before, after)
        else:
            old, new = (shown(item) for item in (before, after))
            yield self._change(name, f"{kind}: {name} {old} → {new}", before, after)

    def _tree(self, before: str, after: str) -> Iterator[Change]:
        """The packages that files list, where both sides are known, and what else became of a tree's files."""
        is_known = self.asked is not None and self.listing
        listed = dict(listed_in_files(self.number, self.asked or {}, self.listing, self._called())) if is_known else {}
        for found in listed.values():
            yield from found
        words = self._files(before, after, self._called(), listed.keys())
        if words or not listed:
            words = words or f"files of `{self.summary}` changed"
            yield self._change("tree", words, before, after)

    def _local_packages(self, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Change]:
        old, new = ({item["path"]: item["tree"] for item in items} for items in (before, after))
        for path in differing(old, new):
            words = f"local package `{path}` {happened(old, new, path)}"
            if path in old and path in new and (files := self._files(old[path], new[path])):
                words = f"local package `{path}`: {files}"
            yield self._change("packages", words, old.get(path), new.get(path))

    def _called(self) -> Mapping[str, str]:
        """What the user calls a requirements file, whatever its name in the tree is."""
        kind, _, name = self.summary.partition(": ")
        return {self.after["spec"]["file"]: name} if self.after["kind"] == kind == "requirements" and name else _NOTHING

    def _files(
        self,
        before: str,
        after: str,
        called: Mapping[str, str] = _NOTHING,
        without: Collection[str] = frozenset(),
    ) -> str:
        """What happened to the files of a tree, but some, by their paths on the host or what they are `called`.

        Nothing where that is not known.
        """
        old, new = self.trees.get(before), self.trees.get(after)
        paths = differing(old, new) if old is not None and new is not None else []
        paths = [path for path in paths if path not in without]
        if old is None or new is None or not paths:
            return ""
        names = [called.get(path, f"{self.folder}{path}") for path in paths]
        if len(paths) == 1:
            return f"`{names[0]}` {happened(old, new, paths[0])}"
        return f"{len(paths)} files changed: {some(names)}"

    def _seen(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
        """What a step sees; variables only by their names, since people put into them what is nobody's business."""
        for name in differing(before.get("env", _NOTHING), after.get("env", _NOTHING)):
            yield self._change(f"env.{name}", f"`{self.summary}` sees another `{name}`")
        for name, what in (("cwd", "runs in"), ("user", "runs as")):
            if before.get(name) != after.get(name):
                words = f"`{self.summary}` {what} `{after.get(name)}` instead of `{before.get(name)}`"
                yield self._change(name, words, before.get(name), after.get(name))

    def _change(self, what: str, words: str, before: Any = None, after: Any = None) -> Change:
        return Change(self.number, what, words, before, after, self.origin)
