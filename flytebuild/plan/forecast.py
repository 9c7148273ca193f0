"""What a build of a plan will take: seconds from what steps took before, and bytes where they are known. Pure.

So many images are worked at as may be at the same time (`plan.durations`). What was never timed or measured counts for
nothing, and is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from flytebuild.plan.durations import layer_seconds, longest, made, makespan, span
from flytebuild.plan.experience import Experience
from flytebuild.plan.model import ImagePlan, LayerPlan, Plan
from flytebuild.plan.places import is_in_engine, registry_of
from flytebuild.plan.pushes import pushes
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import Binary, Copy, Folder, trees_of
from flytebuild.spec.model import ImageSpec


class ImageForecast(Struct, frozen=True):
    """What one image will take that is to be built.

    `layers` are the digests of those that are made for it, from the base up, whether or not another image needs them as
    well; `seconds` is what those take together that were timed, `untimed` counts the others. `download` are bytes of
    its base, where that does not stay in its registry, and of wheels that are no layers yet, at most: the builder may
    have them; None where that is unknown.
    `send` are bytes of files of this machine, also at most. `push` are bytes that its registry is given, of layers that
    were measured; `unmeasured` counts the others. It is the most where `is_limit`: the registry's cache, which is not
    asked, may have some of them.
    """

    reference: str
    layers: tuple[str, ...]
    seconds: float
    untimed: int
    download: int | None
    send: int
    push: int
    unmeasured: int
    is_limit: bool
    is_critical: bool


class Forecast(Struct, frozen=True):
    """What all images will take together; each layer, base and file tree once.

    `layers` has the seconds of each layer that is made, by digest. `critical` is the chain of layers, from the base up,
    that takes longest, and `critical_seconds` what it takes: with no number of jobs is a build shorter. `jobs` images
    are built at the same time.
    """

    images: tuple[ImageForecast, ...]
    layers: Mapping[str, float | None]
    seconds: float
    critical: tuple[str, ...]
    critical_seconds: float
    jobs: int
    download: int | None
    send: int
    push: int
    unmeasured: int
    is_limit: bool

    @property
    def untimed(self) -> int:
        """How many layers have never been timed: what is said of the whole is the least that it takes."""
        return sum(seconds is None for seconds in self.layers.values())

    def of(self, reference: str) -> ImageForecast | None:
        """The part of one image; None for one that is not built."""
        return next((image for image in self.images if image.reference == reference), None)


def forecast(plan: Plan, experience: Experience, jobs: int) -> Forecast:
    """What building `plan` takes with so many images at the same time."""
    images = [image for image in plan.to_build if image.spec]
    chains = {image.reference: made(image) for image in images}
    took = layer_seconds(plan, experience)
    layers = {layer.digest: took(layer) for chain in chains.values() for layer in chain}
    critical = longest(chains.values(), layers)
    wheels = {item.key: item.size for item in plan.wheel_layers if item.status == "missing"}
    fetched = {image.reference: _fetched(image, chains[image.reference], wheels) for image in images}
    sent = {image.reference: _sent(image, layers) for image in images}
    pushed = {image.reference: pushes(plan, image, experience) for image in images}
    everything = {what: size for found in pushed.values() for what, size in found.items()}
    parts = []
    for image in images:
        chain = chains[image.reference]
        parts.append(
            ImageForecast(
                image.reference,
                tuple(layer.digest for layer in chain),
                span(chain, layers),
                sum(layers[layer.digest] is None for layer in chain),
                _total([fetched[image.reference]]),
                sum(sent[image.reference].values()),
                *_measured(pushed[image.reference].values()),
                experience.has_cache,
                bool(critical) and longest([chain], layers) == critical,
            )
        )
    return Forecast(
        tuple(parts),
        layers,
        _whole(plan, chains.values(), layers, experience, jobs),
        critical,
        max((part.seconds for part in parts), default=0.0),
        jobs,
        _total(fetched.values()),
        sum({digest: size for trees in sent.values() for digest, size in trees.items()}.values()),
        *_measured(everything.values()),
        experience.has_cache,
    )


def _whole(
    plan: Plan,
    chains: Iterable[list[LayerPlan]],
    seconds: Mapping[str, float | None],
    experience: Experience,
    jobs: int,
) -> float:
    """What all images take: first the wheel layers that are missing, then everything that is on top of something."""
    keys = {key for chain in chains for layer in chain for key in layer.wheel_layers}
    wheels = [item for item in plan.wheel_layers if item.status == "missing" and item.key in keys]
    apart = {item.key: experience.seconds(item.step) or 0.0 for item in wheels}
    links = [[layer.digest for layer in chain if not layer.wheel_layers] for chain in chains]
    known = {digest: took or 0.0 for digest, took in seconds.items()}
    return makespan([[key] for key in apart], apart, jobs) + makespan(links, known, jobs)


def _measured(sizes: Iterable[int | None]) -> tuple[int, int]:
    """The sum of the sizes that are known, and how many are not."""
    found = list(sizes)
    return sum(size or 0 for size in found), sum(size is None for size in found)


def _fetched(image: ImagePlan, made: Iterable[LayerPlan], wheels: Mapping[str, int | None]) -> dict[str, int | None]:
    """The bytes of what the builder may have to fetch for an image, by what names it."""
    base = image.spec.base if image.spec else None
    found = {key: wheels[key] for layer in made for key in layer.wheel_layers if key in wheels}
    if base is None or (image.spec and _leaves_its_base(image.reference, image.spec, base)):
        return found
    return {base.digest or base.reference: base.size, **found}


def _leaves_its_base(reference: str, spec: ImageSpec, base: ResolvedImage) -> bool:
    """Whether the base stays in its registry: the image goes there as well, and nothing looks into the base."""
    is_put_on_top = any(isinstance(step.layer, Binary) and step.layer.is_apart for step in spec.steps)
    looks = any(isinstance(step.layer, Copy | Folder) for step in spec.steps)
    is_there = not is_in_engine(reference) and registry_of(base.location) == registry_of(reference)
    return is_put_on_top and not looks and is_there


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
