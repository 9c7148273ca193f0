"""In what one lock differs from another: packages by their versions, images by their digests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from flytebuild.wheels.lock import Lock

_SHOWN = len("sha256:") + 12


class Moved(Struct, frozen=True):
    """A package or an image, and its versions or digest before and after; None where there was, or is, none."""

    name: str
    before: str | None
    after: str | None

    @property
    def words(self) -> str:
        """`pandas 2.2.3 → 2.3.0`."""
        before, after = (text and (f"{text[:_SHOWN]}…" if text.startswith("sha256:") else text) for text in self._both)
        if before is None:
            return f"{self.name} {after} is new"
        return f"{self.name} {before} → {after}" if after is not None else f"{self.name} {before} is gone"

    @property
    def _both(self) -> tuple[str | None, str | None]:
        return self.before, self.after


def moved(before: Lock, after: Lock) -> tuple[Moved, ...]:
    """The differences, images first, each in the order of their names."""
    pairs = ((_digests(before), _digests(after)), (_versions(before), _versions(after)))
    return tuple(item for old, new in pairs for item in _differences(old, new))


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Moved]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Moved(name, before.get(name), after.get(name))


def _digests(lock: Lock) -> dict[str, str]:
    return {f"{image.reference} ({image.platform})": image.digest for image in lock.images}


def _versions(lock: Lock) -> dict[str, str]:
    """The versions of each package, of which different images may have several."""
    found: dict[str, set[str]] = {}
    for pin in (pin for layer in lock.layers for pin in layer.pins):
        found.setdefault(pin.name, set()).add(pin.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}
