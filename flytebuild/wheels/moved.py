"""In what one lock differs from another: packages by their versions, images and files by their digests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.wheels.lock import Lock

_SHOWN = len("sha256:") + 12

READY, UNREADY = "ready", "not known to be ready"
"""What is told of a base whose digest stays, and whose images are put on top of it in another way from now on."""

_READINESS = {
    READY: "is known to be ready: its images are put on top of it without unpacking it, and are others once",
    UNREADY: "is not known to be ready any more: it is unpacked for its images, and they are others once",
}


class Moved(Struct, frozen=True):
    """A package, a wheel or an image, and its versions or digest before and after; None where there was, or is, none.

    A wheel, by its file's name, is told where it is another file by the same name: nobody should do that to it.
    A base whose digest stays is told where it is `READY` by now, or `UNREADY`.
    `unlocked` is the layer that had it and that cannot be locked now, by its summary.
    """

    name: str
    before: str | None
    after: str | None
    unlocked: str | None = None

    @property
    def words(self) -> str:
        """`pandas 2.2.3 → 2.3.0`."""
        before, after = (text and (f"{text[:_SHOWN]}…" if text.startswith("sha256:") else text) for text in self._both)
        if before is None:
            return f"{self.name} {after} is new"
        if after in _READINESS:
            return f"{self.name} {_READINESS[after]}"
        if after is not None:
            return f"{self.name} {before} → {after}"
        gone = f"is not locked any more: `{self.unlocked}` cannot be" if self.unlocked else "is gone"
        return f"{self.name} {before} {gone}"

    @property
    def _both(self) -> tuple[str | None, str | None]:
        return self.before, self.after


def moved(before: Lock, after: Lock) -> tuple[Moved, ...]:
    """The differences, images and whether they are ready first, each in the order of their names."""
    digests = _digests(before), _digests(after)
    images = _differences(*digests)
    ready = (item for item in _replaced(_ready(before), _ready(after)) if len({had[item.name] for had in digests}) == 1)
    packages = _differences(_versions(before), _versions(after))
    told = (item if item.after else replace(item, unlocked=_unlocked(item.name, before, after)) for item in packages)
    return (*images, *ready, *told, *_replaced(_files(before), _files(after)))


def _unlocked(package: str, before: Lock, after: Lock) -> str | None:
    """The layer that has come in the place of one with a package, and that cannot be locked."""
    places = {
        (name, layer.platform)
        for layer in before.layers
        if any(pin.name == package for pin in layer.pins)
        for name in layer.environments
    }
    known = {layer.fingerprint for layer in before.unlocked}
    found = [
        layer.asked
        for layer in after.unlocked
        if layer.fingerprint not in known and any((name, layer.platform) in places for name in layer.environments)
    ]
    return min(found, key=lambda asked: package not in asked.lower(), default=None)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Moved]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Moved(name, before.get(name), after.get(name))


def _replaced(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Moved]:
    """What is there before and after, and is not the same."""
    return (item for item in _differences(before, after) if item.before and item.after)


def _digests(lock: Lock) -> dict[str, str]:
    return {f"{image.reference} ({image.platform})": image.digest for image in lock.images}


def _ready(lock: Lock) -> dict[str, str]:
    return {f"{image.reference} ({image.platform})": READY if image.is_ready else UNREADY for image in lock.images}


def _files(lock: Lock) -> dict[str, str]:
    """The digests of each wheel, of which two indexes may have different ones."""
    found: dict[str, set[str]] = {}
    for pin in (pin for layer in lock.layers for pin in layer.pins):
        found.setdefault(pin.filename, set()).add(f"sha256:{pin.sha256}")
    return {name: ", ".join(sorted(digests)) for name, digests in found.items()}


def _versions(lock: Lock) -> dict[str, str]:
    """The versions of each package, of which different images may have several."""
    found: dict[str, set[str]] = {}
    for pin in (pin for layer in lock.layers for pin in layer.pins):
        found.setdefault(pin.name, set()).add(pin.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}
