"""What an image is made of, as the documents that its digest is taken of: kept with it, so that it can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

from msgspec import Struct, field

from flytebuild.spec.canonical import Document, digest, encode
from flytebuild.spec.digests import ImageDigests, base_document
from flytebuild.spec.layers import LayerSpec, Listed, Pinned, PoetryProject, Requirements, UvProject, listed_of
from flytebuild.spec.model import ImageSpec

Listings: TypeAlias = Mapping[str, Sequence[str]]
"""The packages that files list, by the files' paths in a tree; those that a layer lists itself are at the path ``."""


class Composition(Struct, frozen=True):
    """The canonical documents of an image's base, of its layers from the base up, and of its config.

    `listed` has what files of some trees list, by the trees' digests, and what locked layers were asked for, by the
    layers': no digest is taken of that, for files count by their content, and locked layers by their wheels. What
    images of earlier versions have is not known.
    """

    base: Document
    layers: tuple[Mapping[str, Any], ...]
    config: Document
    listed: Mapping[str, Listings] = field(default_factory=dict)

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

    def listings(self, layer: Mapping[str, Any]) -> Listings | None:
        """The packages that a layer's document asks for, or asked for before it was locked; None if not known."""
        if "requirements" in layer["spec"]:
            return {"": layer["spec"]["requirements"]}
        is_pinned = layer["kind"] == "pinned"
        return self.listed.get(digest("layer", layer) if is_pinned else str(layer["spec"].get("tree")))

    def asked(self, layer: Mapping[str, Any]) -> list[str]:
        """The same packages without their files; nothing where they are not known."""
        return [text for texts in (self.listings(layer) or {}).values() for text in texts]

    def encode(self) -> str:
        """The text that an image carries in a label."""
        listed = {"listed": self.listed} if self.listed else {}
        return encode({"base": self.base, "config": self.config, "layers": self.layers, **listed}).decode()


def composition(spec: ImageSpec, digests: ImageDigests) -> Composition:
    """What one spec is made of."""
    parents = (digests.base, *digests.layers)
    return Composition(
        base_document(spec.base, str(spec.platform)),
        tuple(step.document(parent) for step, parent in zip(spec.steps, parents, strict=False)),
        spec.config.document(),
        {
            key: by_file(listed_of(step.layer))
            for step, name in zip(spec.steps, digests.layers, strict=False)
            if (key := _key(step.layer, name))
        },
    )


def by_file(listed: Sequence[Listed]) -> Listings:
    """Packages by the files that list them."""
    found: dict[str, list[str]] = {}
    for item in listed:
        found.setdefault(item.path, []).append(item.text)
    return found


def _key(layer: LayerSpec, name: str) -> str:
    """By which digest a layer's packages are kept that its document does not have; `name` is the layer's own."""
    match layer:
        case Requirements(tree=tree) | UvProject(tree=tree) | PoetryProject(tree=tree) if layer.listed:
            return tree.digest
        case Pinned() if listed_of(layer):
            return name
        case _:
            return ""


def decode(text: str) -> Composition | None:
    """The inverse of `Composition.encode`; None for a text that is none, which an image of others may carry."""
    try:
        match json.loads(text):
            case {"base": Mapping() as base, "layers": [*layers], "config": Mapping() as config, **rest} if _are_layers(
                layers
            ):
                listed = rest.get("listed")
                return Composition(base, tuple(layers), config, listed if _are_listings(listed) else {})
    except ValueError:
        pass
    return None


def _are_layers(layers: Sequence[object]) -> bool:
    return all(
        isinstance(layer, Mapping) and isinstance(layer.get("kind"), str) and isinstance(layer.get("spec"), Mapping)
        for layer in layers
    )


def _are_listings(value: object) -> TypeGuard[Mapping[str, Listings]]:
    return isinstance(value, Mapping) and all(
        isinstance(found, Mapping)
        and all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in found.values())
        for found in value.values()
    )
