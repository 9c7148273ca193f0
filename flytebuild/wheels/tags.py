"""Which wheel of a version fits best: by the order of tags that installers follow (PEP 425, PEP 600)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
"""The first minor of glibc 2 that wheels name for a processor."""


def best(filenames: Iterable[str], python: tuple[int, int], machine: str, glibc: tuple[int, int]) -> str | None:
    """The wheel that an installer takes for CPython on Linux; None where none of them fits.

    `machine` is `x86_64` or `aarch64`.
    """
    order = _order(python, machine, glibc)
    ranked = []
    for filename in filenames:
        try:
            _, _, build, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        fitting = [order[tag] for tag in tags if tag in order]
        if fitting:
            # Of two that fit equally well the one that was built later.
            ranked.append((-min(fitting), build, filename))
    return max(ranked)[2] if ranked else None


@lru_cache(maxsize=16)
def _order(python: tuple[int, int], machine: str, glibc: tuple[int, int]) -> dict[Tag, int]:
    platforms = list(_platforms(machine, glibc))
    interpreter = f"cp{python[0]}{python[1]}"
    tags = (*cpython_tags(python, platforms=platforms), *compatible_tags(python, interpreter, platforms))
    return {tag: place for place, tag in reversed(list(enumerate(tags)))}


def _platforms(machine: str, glibc: tuple[int, int]) -> Iterator[str]:
    for minor in range(glibc[1], _OLDEST[machine] - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if (2, minor) in _LEGACY:
            yield f"{_LEGACY[2, minor]}_{machine}"
    yield f"linux_{machine}"
