"""What the results in a remote cache are called: tags made of the digests of the operations that they are of.

A tag in the cache's repository leads to a cache manifest that holds the result of that operation, and of all that is
below it. `docs/decisions/0003-a-cache-by-content.md` says why.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import in_order
from flytebuild.llb.state import State
from flytebuild.plan import is_in_engine
from flytebuild.registry.reference import Reference, parse
from flytebuild.spec.canonical import Value, digest
from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Dockerfile
from flytebuild.spec.model import ImageSpec

_DIGITS = 32


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


def key_of(spec: ImageSpec, *, has_bundle: bool) -> CacheKey | None:
    """The key of an image's file system; None where there is nothing but the base."""
    return key_of_state(lower(spec, has_bundle=has_bundle)) if spec.base else _of_dockerfile(spec)


def tag_of_all(keys: Iterable[CacheKey]) -> str:
    """A tag for what several images share one cache manifest under."""
    names: list[Value] = [*sorted({key.tag for key in keys})]
    return "all-" + digest("cache", {"keys": names})[:_DIGITS]


def key_of_state(state: State) -> CacheKey | None:
    """The key of a state. Sources have none: images are where they are, and files are with whoever builds."""
    known: dict[str, CacheKey] = {}
    last = None
    for vertex in in_order(state):
        if vertex.operation.WhichOneof("op") != "source":
            below = {item.vertex.digest: known.get(item.vertex.digest) for item in vertex.inputs}
            tag = "v-" + vertex.digest.removeprefix("sha256:")[:_DIGITS]
            last = known[vertex.digest] = CacheKey(tag, tuple(filter(None, below.values())))
    return last


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
