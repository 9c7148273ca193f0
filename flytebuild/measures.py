"""What layers took in builds before, as the user's state remembers it: seconds of steps, and bytes in registries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from flytebuild.state import State

_BY_DIGEST = "layer bytes"
_BY_NAME = "layer bytes by name"
_CACHED = "layer in a registry's cache"


class Measures:
    """The state as `plan.Experience`, for the builders at these addresses. What was asked once is not read again."""

    has_cache: bool

    def __init__(self, state: State, builders: Sequence[str], *, has_cache: bool) -> None:
        self._state = state
        self._builders = builders
        self.has_cache = has_cache
        self._seconds: dict[str, float | None] = {}

    def seconds(self, name: str, /) -> float | None:
        """What a step of this name took at the first of the builders that has executed one."""
        if name not in self._seconds:
            found = (self._state.expected(builder, name) for builder in self._builders)
            self._seconds[name] = next((record.seconds for record in found if record), None)
        return self._seconds[name]

    def size(self, digest: str, name: str, /) -> int | None:
        """The compressed bytes of that very layer, else of the latest that had its name."""
        text = self._state.remembered(_BY_DIGEST, digest) or self._state.remembered(_BY_NAME, name)
        return int(text) if text else None

    def is_cached(self, registry: str, digest: str, /) -> bool:
        """Whether that very layer was pushed to a registry, and would be found again in its cache."""
        return self.has_cache and self._state.remembered(_CACHED, f"{registry} {digest}") is not None


def remember_sizes(registry: str, sizes: Iterable[tuple[str, str, int]], state: State) -> None:
    """Note layers that were pushed to a registry, each by its digest, its name, and its compressed bytes."""
    sizes = tuple(sizes)
    state.remember_all(_CACHED, {f"{registry} {digest}": "" for digest, _, _ in sizes})
    state.remember_all(_BY_DIGEST, {digest: str(size) for digest, _, size in sizes})
    state.remember_all(_BY_NAME, {name: str(size) for _, name, size in sizes})


def forget_cached(registry: str, kept: Collection[str], state: State) -> None:
    """Count no layer as cached any more at a registry whose cache was pruned, but for those with `kept` digests."""
    state.forget_all(_CACHED, f"{registry} ", {f"{registry} {digest}" for digest in kept})
