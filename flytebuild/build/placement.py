"""Which builder of a fleet an image goes to. Pure.

A builder has in its cache what it built before, so images that share their heaviest layer should meet at one builder,
and meet there again in the next build. Rendezvous hashing (Thaler and Ravishankar, 1998) gives every layer its own
order of preference over the builders: one that comes or goes moves only the layers that prefer it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from blake3 import blake3

from flytebuild.plan import ImagePlan, LayerPlan

Weigh: TypeAlias = Callable[[LayerPlan], float]
"""What a layer costs; only comparisons count."""

_SLACK = 1.25
"""How much more than its share a builder may have before an image goes to the next one it prefers."""

_EXPENSIVE = {"pip", "requirements", "uv-project", "poetry-project", "pixi-project", "apt", "wheels", "pinned"}


def by_kind(layer: LayerPlan) -> float:
    """A guess where nothing was recorded: what installs packages, then what runs commands, then files."""
    return 10.0 if layer.kind in _EXPENSIVE else 3.0 if layer.kind == "command" else 1.0


def affinities(images: Sequence[ImagePlan], weigh: Weigh = by_kind) -> dict[str, str]:
    """The digest of each image's heaviest layer, by reference; of equals the one that most images have, the lowest.

    The digest of a layer covers everything below it.
    """
    users = Counter(layer.digest for image in images for layer in image.layers)
    found = {}
    for image in images:
        ranked = [(weigh(layer), users[layer.digest], -place, layer.digest) for place, layer in enumerate(image.layers)]
        found[image.reference] = max(ranked)[-1] if ranked else image.digest or image.reference
    return found


def preference(affinity: str, builders: Collection[str]) -> tuple[str, ...]:
    """The builders in the order in which an image of this affinity prefers them."""

    def score(builder: str) -> bytes:
        return blake3(f"{builder}\0{affinity}".encode()).digest()

    return tuple(sorted(builders, key=score, reverse=True))


def choose(preferred: Sequence[str], load: Counter[str]) -> str:
    """The first that is not loaded above its share. Raises IndexError where there is none at all."""
    total = sum(load[builder] for builder in preferred) + 1
    bound = math.ceil(_SLACK * total / len(preferred)) if preferred else 0
    return next((builder for builder in preferred if load[builder] < bound), preferred[0])
