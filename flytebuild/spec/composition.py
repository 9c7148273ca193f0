"""What an image is made of, as the documents that its digest is taken of: kept with it, so that it can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from flytebuild.spec.canonical import Document, digest, encode
from flytebuild.spec.digests import ImageDigests, base_document
from flytebuild.spec.model import ImageSpec


class Composition(Struct, frozen=True):
    """The canonical documents of an image's base, of its layers from the base up, and of its config."""

    base: Document
    layers: tuple[Mapping[str, Any], ...]
    config: Document

    @property
    def digests(self) -> tuple[str, ...]:
        """The layers' digests."""
        return tuple(digest("layer", layer) for layer in self.layers)

    @property
    def trees(self) -> tuple[str, ...]:
        """The digests of the trees that layers take files from."""
        specs = [layer["spec"] for layer in self.layers]
        packages = [item for spec in specs for item in spec.get("packages", ()) if isinstance(item, Mapping)]
        return tuple(str(item["tree"]) for item in (*specs, *packages) if "tree" in item)

    @property
    def wheel_layers(self) -> tuple[str, ...]:
        """The keys of the layers of wheels that it has."""
        return tuple(
            str(key) for layer in self.layers if layer["kind"] == "pinned" for key in layer["spec"].get("layers", ())
        )

    def encode(self) -> str:
        """The text that an image carries in a label."""
        return encode({"base": self.base, "config": self.config, "layers": self.layers}).decode()


def composition(spec: ImageSpec, digests: ImageDigests) -> Composition:
    """What one spec is made of."""
    parents = (digests.base, *digests.layers)
    return Composition(
        base_document(spec.base, str(spec.platform)),
        tuple(step.document(parent) for step, parent in zip(spec.steps, parents, strict=False)),
        spec.config.document(),
    )


def decode(text: str) -> Composition | None:
    """The inverse of `Composition.encode`; None for a text that is none, which an image of others may carry."""
    try:
        match json.loads(text):
            case {"base": Mapping() as base, "layers": [*layers], "config": Mapping() as config} if _are_layers(layers):
                return Composition(base, tuple(layers), config)
    except ValueError:
        pass
    return None


def _are_layers(layers: Sequence[object]) -> bool:
    return all(
        isinstance(layer, Mapping) and isinstance(layer.get("kind"), str) and isinstance(layer.get("spec"), Mapping)
        for layer in layers
    )
