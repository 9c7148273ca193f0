"""One layer of an image in its place: the canonical document that the layer's digest is taken of."""

from __future__ import annotations

from functools import cached_property, lru_cache

from flytebuild.noted import Noted
from flytebuild.spec.canonical import SCHEMA, Document, Value, encode, extend, split
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import EMITTERS, LayerSpec, sees_environment


class Step(Noted, frozen=True, dict=True):
    """One layer spec in its place; `context` is what an executing step sees (environment, folder, user).

    `origin` is where it is written, and `obstacle` why its packages are not locked where others are: both for messages.
    """

    layer: LayerSpec
    context: RuntimeConfig
    origin: str = ""
    obstacle: str = ""

    NOTES = ("origin", "obstacle")

    def document(self, parent: str) -> Document:
        """What the layer's digest is taken of. Files do not see the environment; steps that execute do."""
        kind = self.layer.kind
        document: dict[str, Value] = {
            "emitter": EMITTERS[kind],
            "kind": kind,
            "parent": parent,
            "schema": SCHEMA,
            "spec": self.layer.fields(),
        }
        if sees_environment(self.layer):
            document["step"] = self.context.seen()
        return document

    @cached_property
    def around_parent(self) -> tuple[bytes, bytes]:
        """The canonical bytes of the document before and after the parent's digest, for any parent.

        Kept, since images share steps, and put together from their parts, since many steps are of one kind and many
        see the same environment.
        """
        kind = self.layer.kind
        before, after = _head(kind, EMITTERS[kind])
        after = extend(after, "spec", encode(self.layer.fields()))
        return before, extend(after, "step", _seen(self.context)) if sees_environment(self.layer) else after


@lru_cache(maxsize=64)
def _head(kind: str, emitter: int) -> tuple[bytes, bytes]:
    return split({"emitter": emitter, "kind": kind, "schema": SCHEMA}, "parent")


@lru_cache(maxsize=1024)
def _seen(context: RuntimeConfig) -> bytes:
    return encode(context.seen())
