"""Which wheels make one layer together. Pure.

A wheel of some size is a layer of its own: it is shared with everybody who has it, and stays when others change. The
small ones of one declared layer share one, so that a change there is a change of that one only. What other images have
is never looked at: the same declaration gives the same layers everywhere and always.

The order of layers is that of their declaration: of a file that wheels of two declared layers have the later one's is
kept, as by steps. Within one declaration a step keeps whichever was written last; here it is the last in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

from flytebuild.spec.layers import Pin

Group: TypeAlias = tuple[Pin, ...]

HEAVY = 1_000_000
"""Bytes of a wheel from which on it is a layer of its own: below, starting a container takes longer than installing."""

LIMIT = 48
"""Layers that the wheels of one image make at most. Docker stops at 127 layers, BuildKit before 0.14 at about 70
(moby/buildkit#4810), and an image has others too."""


def partition(
    declared: Sequence[Sequence[Pin]], limit: int = LIMIT, apart: Collection[int] = ()
) -> tuple[tuple[Group, ...], ...]:
    """The layers of each declared layer: heavy wheels by name, then one of all others; nothing for no pins.

    Where that makes more than `limit` layers, the lightest of the heavy ones join the others. Where there are still
    more, the uppermost declared layers have one together: each of them is given the same group, whose wheels are in the
    order of their declaration. `apart` are the places of those that cannot be joined with the one before, since there
    is something between them that an image has a layer for as well.
    """
    alone = [(number, pin) for number, pins in enumerate(declared) for pin in pins if (pin.size or 0) >= HEAVY]
    alone.sort(key=_by_weight)
    while alone and len(alone) + _shared(declared, alone) > limit:
        alone.pop()
    groups = [_groups(pins, [pin for at, pin in alone if at == number]) for number, pins in enumerate(declared)]
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


def _groups(pins: Sequence[Pin], alone: Sequence[Pin]) -> tuple[Group, ...]:
    together = tuple(sorted((pin for pin in pins if pin not in alone), key=_by_name))
    return (*((pin,) for pin in sorted(alone, key=_by_name)), *([together] if together else []))


def _shared(declared: Sequence[Sequence[Pin]], alone: Sequence[tuple[int, Pin]]) -> int:
    """How many declared layers have wheels that are not alone."""
    heavy = Counter(number for number, _ in alone)
    return sum(len(pins) > heavy[number] for number, pins in enumerate(declared))


def _by_weight(item: tuple[int, Pin]) -> tuple[int, str, int]:
    number, pin = item
    return -(pin.size or 0), pin.name, number


def _by_name(pin: Pin) -> str:
    return pin.name
