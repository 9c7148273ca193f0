"""How large images are: what each has for itself, and what it shares with others. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class StoredLayer(Struct, frozen=True):
    """A layer as a store has it: `size` in bytes, `made_by` what its history says, or nothing."""

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


def with_wheels_named(
    layers: Sequence[StoredLayer], summaries: Sequence[str], is_wheel_layer: Callable[[str], bool]
) -> tuple[StoredLayer, ...]:
    """An image's layers, those of wheels called by what they hold, since one command makes them all.

    `summaries` has the image's wheel layers in its order. Where it does not have as many, no name is guessed.
    """
    if sum(is_wheel_layer(layer.made_by) for layer in layers) != len(summaries):
        return tuple(layers)
    names = iter(summaries)
    return tuple(replace(layer, made_by=next(names)) if is_wheel_layer(layer.made_by) else layer for layer in layers)


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
