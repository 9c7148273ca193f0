"""What a build of a plan will take: seconds from what steps took before, and bytes where they are known. Pure.

Layers are made one after the other within an image, and once for all images that share them; so many images are worked
at as may be at the same time. What was never timed counts for nothing, and is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush

from msgspec import Struct

from flytebuild.plan.model import ImagePlan, LayerPlan, Plan
from flytebuild.spec.layers import trees_of


class ImageForecast(Struct, frozen=True):
    """What one image will take that is to be built.

    `layers` are the digests of those that are made for it, from the base up, whether or not another image needs them as
    well; `seconds` is the sum of those that were timed, `untimed` counts the others. `download` are bytes of its base
    and of wheels that are no layers yet, at most: the builder may have them; None where that is unknown. `send` are
    bytes of files of this machine, also at most.
    """

    reference: str
    layers: tuple[str, ...]
    seconds: float
    untimed: int
    download: int | None
    send: int


class Forecast(Struct, frozen=True):
    """What all images will take together; each layer, base and file tree once.

    `layers` has the seconds of each layer that is made, by digest. `critical` is the chain of layers, from the base up,
    that takes longest: with no number of jobs is a build shorter. `jobs` images are built at the same time.
    """

    images: tuple[ImageForecast, ...]
    layers: Mapping[str, float | None]
    seconds: float
    critical: tuple[str, ...]
    jobs: int
    download: int | None
    send: int

    @property
    def untimed(self) -> int:
        """How many layers have never been timed: what is said of the whole is the least that it takes."""
        return sum(seconds is None for seconds in self.layers.values())

    @property
    def critical_seconds(self) -> float:
        """What the longest chain takes."""
        return sum(self.layers[digest] or 0.0 for digest in self.critical)

    def of(self, reference: str) -> ImageForecast | None:
        """The part of one image; None for one that is not built."""
        return next((image for image in self.images if image.reference == reference), None)

    def is_critical(self, image: ImageForecast) -> bool:
        """Whether the longest chain is the one of this image."""
        return bool(self.critical) and image.layers == self.critical


def forecast(plan: Plan, seconds: Callable[[LayerPlan], float | None], jobs: int) -> Forecast:
    """What building `plan` takes with so many images at the same time; `seconds` is what a layer took the last time."""
    images = [image for image in plan.to_build if image.spec]
    made = {image.reference: _made(image) for image in images}
    layers = {layer.digest: seconds(layer) for found in made.values() for layer in found}
    wheels = {item.key: item.size for item in plan.wheel_layers if item.status == "missing"}
    fetched = {image.reference: _fetched(image, made[image.reference], wheels) for image in images}
    sent = {image.reference: _sent(image, layers) for image in images}
    chains = [tuple(layer.digest for layer in found) for found in made.values()]
    known = {digest: took or 0.0 for digest, took in layers.items()}
    return Forecast(
        tuple(
            ImageForecast(
                image.reference,
                chain,
                sum(known[digest] for digest in chain),
                sum(layers[digest] is None for digest in chain),
                _total([fetched[image.reference]]),
                sum(sent[image.reference].values()),
            )
            for image, chain in zip(images, chains, strict=True)
        ),
        layers,
        makespan(chains, known, jobs),
        longest(chains, layers),
        jobs,
        _total(fetched.values()),
        sum({digest: size for trees in sent.values() for digest, size in trees.items()}.values()),
    )


def layer_seconds(plan: Plan, seconds: Callable[[str], float | None]) -> Callable[[LayerPlan], float | None]:
    """What making a layer takes; `seconds` is what a step took the last time, by its name.

    Of packages that come as wheel layers those take time that were not made before: the others are there, whatever
    changes below them.
    """
    names = {item.key: item.summary for item in plan.wheel_layers if item.status == "missing"}

    def of(layer: LayerPlan) -> float | None:
        if not layer.wheel_layers:
            return seconds(layer.summary)
        took = [seconds(names[key]) for key in layer.wheel_layers if key in names]
        return None if None in took else sum(item or 0.0 for item in took)

    return of


def critical_path(plan: Plan, seconds: Callable[[LayerPlan], float | None]) -> tuple[str, ...]:
    """The digests of the layers of the image that takes longest when nothing is there, from the base up."""
    chains = {image.reference: [layer for layer in image.layers if layer.kind != "base"] for image in plan.images}
    layers = {layer.digest: seconds(layer) for chain in chains.values() for layer in chain}
    return longest([tuple(layer.digest for layer in chain) for chain in chains.values()], layers)


def longest(chains: Iterable[tuple[str, ...]], seconds: Mapping[str, float | None]) -> tuple[str, ...]:
    """The chain whose links take longest together, the first of equals; nothing where none was ever timed."""
    found = max(chains, key=lambda chain: sum(seconds[link] or 0.0 for link in chain), default=())
    return found if any(seconds[link] for link in found) else ()


def makespan(chains: Sequence[Sequence[str]], seconds: Mapping[str, float], jobs: int) -> float:
    """How long it takes to make all chains, each by one of `jobs` workers, in their order, and equal links once.

    Whoever comes to a link that another one is making waits for it. A link is always on top of the same ones.
    """
    free, done = [0.0] * jobs, dict[str, float]()
    for chain in chains:
        moment = heappop(free)
        for link in chain:
            moment = max(moment, done[link]) if link in done else moment + seconds[link]
            done.setdefault(link, moment)
        heappush(free, moment)
    return max(free)


def _made(image: ImagePlan) -> list[LayerPlan]:
    return [layer for layer in image.layers if layer.kind != "base" and layer.status != "present"]


def _fetched(image: ImagePlan, made: Iterable[LayerPlan], wheels: Mapping[str, int | None]) -> dict[str, int | None]:
    """The bytes of what the builder may have to fetch for an image, by what names it."""
    base = image.spec.base if image.spec else None
    found = {key: wheels[key] for layer in made for key in layer.wheel_layers if key in wheels}
    return {base.digest or base.reference: base.size, **found} if base else found


def _sent(image: ImagePlan, layers: Mapping[str, object]) -> dict[str, int]:
    """The bytes of the trees that the layers of an image take which are made, by the trees' digests."""
    steps = image.spec.steps if image.spec else ()
    plans = image.layers[len(image.layers) - len(steps) :]
    return {
        tree.digest: tree.size
        for step, layer in zip(steps, plans, strict=True)
        if layer.digest in layers
        for tree in trees_of(step.layer)
    }


def _total(fetched: Iterable[Mapping[str, int | None]]) -> int | None:
    """The sum of different things; None where the size of one is unknown."""
    sizes = {name: size for found in fetched for name, size in found.items()}
    known = [size for size in sizes.values() if size is not None]
    return sum(known) if len(known) == len(sizes) else None
