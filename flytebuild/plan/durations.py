"""How long layers take to make, one after another and beside each other. Pure.

The layers of an image are made one after the other, and once for all images that share them. Those that are made of
wheels are on top of nothing: all of a build are made at the same time, before the images (`build.shared_layers`). So of
the wheel layers of an image, only the slowest one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TypeAlias

from flytebuild.plan.experience import Experience
from flytebuild.plan.model import ImagePlan, LayerPlan, Plan
from flytebuild.plan.places import registry_of

LayerSeconds: TypeAlias = Callable[[LayerPlan], float | None]
"""What making a layer takes; None where nobody knows."""


def layer_seconds(plan: Plan, experience: Experience) -> LayerSeconds:
    """What making a layer of this plan takes now.

    Of packages that come as wheel layers those take time that were not made before: the others are there, whatever
    changes below them. So is what a registry's cache has.
    """
    took = _layer_seconds(experience, {item.key: item.step for item in plan.wheel_layers if item.status == "missing"})
    registries: dict[str, set[str]] = {}
    for image in plan.to_build:
        for layer in image.layers:
            registries.setdefault(layer.digest, set()).add(registry_of(image.reference))

    def of(layer: LayerPlan) -> float | None:
        places = registries.get(layer.digest, ())
        return 0.0 if places and all(experience.is_cached(item, layer.digest) for item in places) else took(layer)

    return of


def seconds_anew(plan: Plan, experience: Experience) -> LayerSeconds:
    """What making a layer of this plan would take where nothing is there yet."""
    return _layer_seconds(experience, {item.key: item.step for item in plan.wheel_layers})


def critical_path(plan: Plan, experience: Experience) -> tuple[str, ...]:
    """The digests of the layers of the image that takes longest when nothing is there, from the base up."""
    took = seconds_anew(plan, experience)
    chains = [[layer for layer in image.layers if layer.kind != "base"] for image in plan.images]
    return longest(chains, {layer.digest: took(layer) for chain in chains for layer in chain})


def critical_path_to_build(plan: Plan, experience: Experience) -> tuple[str, ...]:
    """The same of the images that are to be built, and of what is made for them now."""
    took = layer_seconds(plan, experience)
    chains = [made(image) for image in plan.to_build]
    return longest(chains, {layer.digest: took(layer) for chain in chains for layer in chain})


def made(image: ImagePlan) -> list[LayerPlan]:
    """The layers that are made for an image, from the base up, whether or not another image needs them as well."""
    return [layer for layer in image.layers if layer.kind != "base" and layer.status != "present"]


def span(chain: Iterable[LayerPlan], seconds: Mapping[str, float | None]) -> float:
    """What all of a chain takes: its steps one after the other, and before them its wheel layers, side by side."""
    steps, apart = 0.0, 0.0
    for layer in chain:
        took = seconds[layer.digest] or 0.0
        if layer.wheel_layers:
            apart = max(apart, took)
        else:
            steps += took
    return apart + steps


def longest(chains: Iterable[Sequence[LayerPlan]], seconds: Mapping[str, float | None]) -> tuple[str, ...]:
    """The digests of the chain that takes longest, the first of equals; nothing where none was ever timed.

    Of layers whose packages come as wheel layers it has the slowest one: the whole waits for no other.
    """
    found = max(chains, key=lambda chain: span(chain, seconds), default=())
    if not any(seconds[layer.digest] for layer in found):
        return ()
    apart = [layer for layer in found if layer.wheel_layers]
    slowest = max(apart, key=lambda layer: seconds[layer.digest] or 0.0, default=None)
    return tuple(layer.digest for layer in found if layer is slowest or not layer.wheel_layers)


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


def _layer_seconds(experience: Experience, names: Mapping[str, str]) -> LayerSeconds:
    """`names` has what the steps of those wheel layers are called that are made, by their keys."""

    def of(layer: LayerPlan) -> float | None:
        if not layer.wheel_layers:
            return experience.seconds(layer.summary)
        took = [experience.seconds(names[key]) for key in layer.wheel_layers if key in names]
        return None if None in took else max((item or 0.0 for item in took), default=0.0)

    return of
