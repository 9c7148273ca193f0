"""Which wheels make one layer together. Pure.

A wheel of some size is a layer of its own: it is shared with everybody who has it, and stays when others change. The
small ones of one declared layer share two: one for those that came along, since others need them, and one for those
that are asked for by name. A list that has one more name then has the others' layers as before, and lists with the same
heavy packages share what those bring along. What other images have is never looked at: the same declaration gives the
same layers everywhere and always.

The order of layers is that of their declaration: of a file that wheels of two declared layers have the later one's is
kept, as by steps. Within one declaration a step keeps whichever was written last; here it is the last in this order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from msgspec import Struct

from flytebuild.spec.layers import Pin

Group: TypeAlias = tuple[Pin, ...]

HEAVY = 1_000_000
"""Bytes of a wheel from which on it is a layer of its own: below, starting a container takes longer than installing."""

LIMIT = 48
"""Layers that the wheels of one image make at most. Docker stops at 127 layers, BuildKit before 0.14 at about 70
(moby/buildkit#4810), and an image has others too."""


class Declared(Struct, frozen=True):
    """The wheels of one declared layer, and the packages that it asks for by name, as far as that is known."""

    pins: Sequence[Pin]
    named: frozenset[str] = frozenset()


def partition(
    declared: Sequence[Declared], limit: int = LIMIT, apart: Collection[int] = ()
) -> tuple[tuple[Group, ...], ...]:
    """The layers of each declared layer: heavy wheels by name, then one of those that came along, and one of all that
    are named; nothing for no pins.

    Where that makes more than `limit` layers, the lightest of the heavy ones join the others. Where there are still
    more, names count for nothing, and the uppermost declared layers have one together: each of them is given the same
    group, whose wheels are in the order of their declaration. `apart` are the places of those that cannot be joined
    with the one before, since there is something between them that an image has a layer for as well.
    """
    alone = [(number, pin) for number, layer in enumerate(declared) for pin in layer.pins if (pin.size or 0) >= HEAVY]
    alone.sort(key=_by_weight)
    while alone and len(alone) + _shared(declared, alone) > limit:
        alone.pop()
    if len(alone) + _shared(declared, alone) > limit:
        declared = [Declared(layer.pins) for layer in declared]
    groups = [_groups(layer, [pin for at, pin in alone if at == number]) for number, layer in enumerate(declared)]
    return tuple(_joined(groups, limit, apart))


def _joined(groups: Sequence[tuple[Group, ...]], limit: int, apart: Collection[int]) -> Iterator[tuple[Group, ...]]:
    """As many neighbours in one layer as it takes, the uppermost ones: what is added on top then changes only that."""
    excess = sum(map(len, groups)) - limit
    joints = [upper for upper in range(1, len(groups)) if upper not in apart and groups[upper - 1] and groups[upper]]
    chosen = frozenset(joints[-excess:] if excess > 0 else ())
    runs: list[list[tuple[Group, ...]]] = []
    for number, found in enumerate(groups):
        if number in chosen:
            runs[-1].append(found)
        else:
            runs.append([found])
    for run in runs:
        together = (tuple(pin for found in run for group in found for pin in group),)
        yield from (together if len(run) > 1 else found for found in run)


def _groups(layer: Declared, alone: Sequence[Pin]) -> tuple[Group, ...]:
    light = sorted((pin for pin in layer.pins if pin not in alone), key=_by_name)
    along = tuple(pin for pin in light if pin.name not in layer.named)
    named = tuple(pin for pin in light if pin.name in layer.named)
    return (*((pin,) for pin in sorted(alone, key=_by_name)), *filter(None, (along, named)))


def _shared(declared: Sequence[Declared], alone: Sequence[tuple[int, Pin]]) -> int:
    """How many layers those wheels make that are not alone."""
    heavy = frozenset(alone)
    every = ((number, layer, pin) for number, layer in enumerate(declared) for pin in layer.pins)
    return len({(number, pin.name in layer.named) for number, layer, pin in every if (number, pin) not in heavy})


def _by_weight(item: tuple[int, Pin]) -> tuple[int, str, int]:
    number, pin = item
    return -(pin.size or 0), pin.name, number


def _by_name(pin: Pin) -> str:
    return pin.name
