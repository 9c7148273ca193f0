"""What builds before tell of the next one. Pure."""

from __future__ import annotations

from typing import Protocol


class Experience(Protocol):
    """How long steps took, and how many bytes a registry was given for a layer; None for what was never seen.

    Names and digests are those of a plan's layers; wheel layers go by their keys, and by what their steps are called.
    `has_cache` says whether registries keep a cache of what is pushed there, be it by others.
    """

    @property
    def has_cache(self) -> bool: ...

    def seconds(self, name: str, /) -> float | None:
        """What a step of this name took when it was executed last."""

    def size(self, digest: str, name: str, /) -> int | None:
        """The compressed bytes of that very layer, else of the latest that had its name."""

    def is_cached(self, registry: str, digest: str, /) -> bool:
        """Whether that very layer was pushed to a registry that keeps a cache of what is pushed there."""


class Nothing:
    """Where no build was ever seen."""

    has_cache = False

    def seconds(self, name: str, /) -> float | None:
        return None

    def size(self, digest: str, name: str, /) -> int | None:
        return None

    def is_cached(self, registry: str, digest: str, /) -> bool:
        return False


NOTHING = Nothing()
