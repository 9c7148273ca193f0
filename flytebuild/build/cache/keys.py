"""What the results in a remote cache are called: tags made of the digests of the operations that they are of.

A tag in the cache's repository leads to a cache manifest by which nothing of that operation need be executed, nor of
what is below it. Merges and differences have none, since they cost nothing. `docs/decisions/0003-a-cache-by-content.md`
says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from flytebuild.llb.lower import lower, program_alone
from flytebuild.llb.marshal import in_order
from flytebuild.llb.state import State, Vertex
from flytebuild.llb.wheels import wheel_layer
from flytebuild.plan import ImagePlan, is_in_engine
from flytebuild.registry.reference import Reference, parse
from flytebuild.spec.canonical import Value, digest
from flytebuild.spec.digests import digests
from flytebuild.spec.images import Platform
from flytebuild.spec.layers import Dockerfile, WheelLayer
from flytebuild.spec.model import ImageSpec

_DIGITS = 32
_FREE = ("merge", "diff")
"""What takes nothing to do, once its inputs are there."""


class CacheKey(Struct, frozen=True, eq=False):
    """One operation's tag, and what it takes in: whoever has a result has also those `below` it."""

    tag: str
    below: tuple[CacheKey, ...] = ()

    @property
    def alone(self) -> CacheKey:
        """The key without those below it."""
        return CacheKey(self.tag)

    def closure(self) -> dict[str, CacheKey]:
        """The key and all below it, by tag."""
        found: dict[str, CacheKey] = {}
        pending = [self]
        while pending:
            key = pending.pop()
            if key.tag not in found:
                found[key.tag] = key
                pending += key.below
        return found


class BuiltImage(Struct, frozen=True, eq=False):
    """An image that a build has exported: to which reference, and its manifest's digest there."""

    spec: ImageSpec
    reference: str
    manifest: str

    @property
    def place(self) -> Reference | None:
        """The manifest in its registry; None for an image in the engine's store."""
        return None if is_in_engine(self.reference) else parse(self.reference).pinned(self.manifest)


def keys_of(spec: ImageSpec, *, has_bundle: bool) -> tuple[CacheKey, ...]:
    """The keys of all that an image's file system is put together of; none where there is nothing but the base."""
    return keys_of_state(lower(spec, has_bundle=has_bundle)) if spec.base else (_of_dockerfile(spec),)


def key_of_last(spec: ImageSpec, *, has_bundle: bool) -> CacheKey | None:
    """The key of an image's very last operation, alone; None where there is nothing but the base."""
    if spec.base is None:
        return _of_dockerfile(spec).alone
    vertex = lower(spec, has_bundle=has_bundle).vertex
    return None if _kind(vertex) == "source" else CacheKey(_tag(vertex))


def tag_of_all(keys: Iterable[CacheKey]) -> str:
    """A tag for what several images share one cache manifest under."""
    names: list[Value] = [*sorted({key.tag for key in keys})]
    return "all-" + digest("cache", {"keys": names})[:_DIGITS]


def wheel_layers(images: Iterable[ImagePlan]) -> Mapping[Platform, Sequence[WheelLayer]]:
    """The wheel layers of all these images, each once; those first that take longest."""
    every = {layer.key: layer for image in images for layer in image.wheel_layers}
    found: dict[Platform, list[WheelLayer]] = {}
    for key in sorted(every, key=lambda key: (-(every[key].size or 0), key)):
        found.setdefault(every[key].platform, []).append(every[key])
    return found


def shared_layers(images: Sequence[ImagePlan]) -> Mapping[Platform, Sequence[State]]:
    """What images share that is made apart from them: wheel layers, and the program of uv where it is a layer."""
    found: dict[Platform, list[State]] = {
        platform: [wheel_layer(layer) for layer in layers] for platform, layers in wheel_layers(images).items()
    }
    for image in images:
        program = program_alone(image.spec) if image.spec and image.wheel_layers else None
        if image.spec and program and program not in found[image.spec.platform]:
            found[image.spec.platform].append(program)
    return found


def keys_of_all(images: Sequence[ImagePlan], *, has_bundle: bool) -> list[CacheKey]:
    """What is to be known for some images: their wheel layers, together, and what else they are put together of."""
    specs = [image.spec for image in images if image.spec]
    shared = [
        key_together([key for layer in layers for key in keys_of_state(layer)])
        for layers in shared_layers(images).values()
    ]
    known = {tag for key in shared for tag in key.closure()}
    others = {key.tag: key for spec in specs for key in keys_of(spec, has_bundle=has_bundle)}
    return [*shared, *(key for tag, key in others.items() if tag not in known)]


def key_together(keys: Sequence[CacheKey]) -> CacheKey:
    """The key of several results that are kept as one."""
    return CacheKey(tag_of_all(keys), tuple(keys)) if len(keys) > 1 else keys[0]


def parts_of(state: State) -> tuple[State, ...]:
    """The results that a state is put together of, each once: what it takes to merge them is nothing.

    Sources are none of them: images are where they are, and files are with whoever builds. Of a difference it is the
    upper state, which has the lower one below it.
    """
    kind, inputs = _kind(state.vertex), state.vertex.inputs
    if kind in _FREE:
        return tuple(dict.fromkeys(part for item in inputs[kind == "diff" :] for part in parts_of(item)))
    return () if kind == "source" else (state,)


def keys_of_state(state: State) -> tuple[CacheKey, ...]:
    """The keys of a state's parts, in their order."""
    known: dict[str, tuple[CacheKey, ...]] = {}
    for vertex in in_order(state):
        kind = _kind(vertex)
        inputs = vertex.inputs[kind == "diff" :]
        below = tuple({key.tag: key for item in inputs for key in known[item.vertex.digest]}.values())
        if kind == "source":
            known[vertex.digest] = ()
        else:
            known[vertex.digest] = below if kind in _FREE else (CacheKey(_tag(vertex), below),)
    return known[state.vertex.digest]


def _kind(vertex: Vertex) -> str:
    return str(vertex.operation.WhichOneof("op"))


def _tag(vertex: Vertex) -> str:
    return "v-" + vertex.digest.removeprefix("sha256:")[:_DIGITS]


def _of_dockerfile(spec: ImageSpec) -> CacheKey:
    """What the frontend makes of a Dockerfile is not known beforehand.

    So the file alone is a key too: its first steps do not depend on the files that later ones copy.
    """
    layer = spec.steps[0].layer
    if not isinstance(layer, Dockerfile):
        raise ValueError(f"`{spec.name}` is not made by a Dockerfile")
    alone: dict[str, Value] = {name: value for name, value in layer.fields().items() if name != "tree"}
    head = digest("cache", {"dockerfile": alone, "platform": str(spec.platform)})
    return CacheKey("d-" + digests(spec).layers[-1][:_DIGITS], (CacheKey("d-" + head[:_DIGITS]),))
