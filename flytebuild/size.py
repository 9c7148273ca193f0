"""How large images are: what each has for itself, and what it shares with others. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import accumulate, repeat

from msgspec import Struct
from msgspec.structs import replace

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)
_IMPORTED = "imported sha256:"
"""What BuildKit says of a layer that came from a cache, and begins with (`worker/base/worker.go`, FromRemote)."""

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class StoredLayer(Struct, frozen=True):
    """A layer as a store has it: `size` in bytes, `made_by` what is known of it, or nothing."""

    digest: str
    size: int
    made_by: str = ""


class StoredImage(Struct, frozen=True):
    """An image that is there, for one platform, each of its layers once."""

    reference: str
    environments: tuple[str, ...]
    layers: tuple[StoredLayer, ...]

    @property
    def size(self) -> int:
        """Bytes of all its layers."""
        return sum(layer.size for layer in self.layers)


class Share(Struct, frozen=True):
    """An image with the bytes that no other image of the same account has."""

    image: StoredImage
    own: int

    @property
    def shared(self) -> int:
        """The bytes that others have as well."""
        return self.image.size - self.own


class Account(Struct, frozen=True):
    """Images together: what each has, the layers by size with the number of images that have them, and the whole."""

    shares: tuple[Share, ...]
    layers: tuple[tuple[StoredLayer, int], ...]

    @property
    def size(self) -> int:
        """Bytes of all layers, each counted once."""
        return sum(layer.size for layer, _ in self.layers)


def with_steps_named(layers: Sequence[StoredLayer], told: Mapping[str, Sequence[str]]) -> tuple[StoredLayer, ...]:
    """An image's layers, called as its plan calls the steps that made them.

    `told` has those names in the image's order, by what its history says of them. Where several steps have the same
    command, and the image has not as many layers of it, no name is guessed.
    """
    there = Counter(layer.made_by for layer in layers)
    names = {
        made_by: iter(steps) if there[made_by] == len(steps) else repeat(steps[0])
        for made_by, steps in told.items()
        if there[made_by] == len(steps) or len(set(steps)) == 1
    }
    return tuple(
        replace(layer, made_by=next(names[layer.made_by])) if layer.made_by in names else layer for layer in layers
    )


def with_imports_named(
    layers: Sequence[StoredLayer], upon_base: Sequence[str], size: int | None
) -> tuple[StoredLayer, ...]:
    """An image's layers, those named that came from a cache, of which the history says nothing else.

    `upon_base` has the names of what lies on the base, the lowest first. They are given where as many layers lie on
    ones that have the bytes of the base (`size`), or that say nothing while the next one does.
    """
    count = len(layers) - len(upon_base)
    below = layers[: max(count, 0)]
    is_base = sum(layer.size for layer in below) == size
    is_silent = all(map(_is_silent, below)) and not any(map(_is_silent, layers[count : count + 1]))
    if count < 0 or not (is_base or is_silent):
        return tuple(layers)
    named = (
        replace(layer, made_by=name) if _is_imported(layer) else layer
        for layer, name in zip(layers[count:], upon_base, strict=True)
    )
    return (*below, *named)


def with_base_named(layers: Sequence[StoredLayer], base: str, size: int | None, lowest: str) -> tuple[StoredLayer, ...]:
    """An image's layers, those of its base called by that, and by what the base says of them, if it says anything.

    They are the lowest ones, of as many bytes as the base has (`size`). Where layers are stored otherwise than the base
    has them, it is those that say nothing below the one of the step called `lowest`, which comes first upon a base.
    """
    sums = list(accumulate(layer.size for layer in layers))
    silent = next((n for n, layer in enumerate(layers) if not _is_silent(layer)), len(layers))
    if size in sums:
        count = sums.index(size) + 1
    elif silent < len(layers) and layers[silent].made_by == lowest:
        count = silent
    else:
        count = 0
    of_base = (
        replace(layer, made_by=base if _is_silent(layer) or _is_imported(layer) else f"{base}: {layer.made_by}")
        for layer in layers[:count]
    )
    return (*of_base, *layers[count:])


def _is_silent(layer: StoredLayer) -> bool:
    """Whether nothing is said of a layer but that BuildKit has it."""
    return layer.made_by in ("", "created by buildkit") or layer.made_by.startswith("pulled from ")


def _is_imported(layer: StoredLayer) -> bool:
    """Whether nothing is said of a layer but that it came from a cache."""
    return layer.made_by.startswith(_IMPORTED)


def account(images: Sequence[StoredImage]) -> Account:
    """What images have alone and together."""
    users = Counter(layer.digest for image in images for layer in image.layers)
    shares = tuple(
        Share(image, sum(layer.size for layer in image.layers if users[layer.digest] == 1)) for image in images
    )
    layers = {layer.digest: layer for image in images for layer in image.layers}
    largest = sorted(layers.values(), key=lambda layer: -layer.size)
    return Account(shares, tuple((layer, users[layer.digest]) for layer in largest))


def parse_size(text: str) -> int:
    """Bytes from `2GB`, `1.5 GiB`, `800M` or `1000`; units of 1000, or of 1024 with an `i`. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"`{text}` is not a size")
    base = 1024 if found[3] else 1000
    return int(Decimal(found[1]) * base ** _POWERS[found[2].lower()])
