"""What `flytebuild.lock` makes of the images of a plan."""

from __future__ import annotations

import os
from collections.abc import Sequence

from flytebuild.config import Config
from flytebuild.errors import LockDriftError, UsageError
from flytebuild.events import Emit, Notice
from flytebuild.looking import location_of
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import Dockerfile
from flytebuild.wheels import lockfile
from flytebuild.wheels.drift import drift
from flytebuild.wheels.lock import Lock, Specs, apply

_NAMED = 3
"""So many things that are in no lock are named; how many others there are is counted."""


def read(config: Config) -> Lock | None:
    """The lock that the configuration names; None where there is none.

    Raises LockDriftError where there must be one, UsageError for a file that is none.
    """
    found = lockfile.read(config.lock) if config.lock else None
    if found is None and config.locked:
        raise LockDriftError(str(config.lock), ("there is no such file",), _command(config))
    if found is None and config.sources.get("lock") == "--lock":
        raise UsageError(f"There is no `{config.lock}`", hint=f"`{_command(config)}` makes it")
    return found


def applied(config: Config, lock: Lock, specs: Specs, emit: Emit) -> Specs:
    """The specs with what is locked. What the lock does not have is told, and raises LockDriftError if `locked`."""
    made, left = apply(specs, lock)
    lacking = [
        f"`{image.reference}` for `{platform}`"
        for platform, image in named_images(specs)
        if image.digest and not lock.digest_of(image.reference, platform)
    ]
    lacking += drift(specs, lock, left)
    if lacking and config.locked:
        raise LockDriftError(str(config.lock), [f"{item} is not in it" for item in lacking], _command(config))
    if lacking:
        emit(Notice(_told(lacking, config)))
    return made


def tool(config: Config, lock: Lock, name: str, platform: Platform) -> ResolvedImage:
    """An image that makes wheel layers, as the lock has it.

    Nobody is asked whether it is there: one lock comes to the same images everywhere.
    """
    digest = lock.digest_of(name, platform)
    problem = "" if digest else f"it is not in `{config.lock.name if config.lock else 'the lock'}`"
    return ResolvedImage(name, str(location_of(config, name, digest)), digest, problem=problem)


def named_images(specs: Specs) -> Sequence[tuple[Platform, ResolvedImage]]:
    """The images that others are made from, once for each platform, in the order of their names.

    Not those that are named by a digest, nor a Dockerfile's frontend, which runs on whatever the builder is.
    """
    found: dict[tuple[str, str], tuple[Platform, ResolvedImage]] = {}
    for variants in specs.values():
        for platform, spec in variants.items():
            frontends = {step.layer.frontend for step in spec.steps if isinstance(step.layer, Dockerfile)}
            for image in spec.images:
                if image not in frontends and "@" not in image.reference:
                    found[image.reference, str(platform)] = platform, image
    return [found[key] for key in sorted(found)]


def _told(lacking: Sequence[str], config: Config) -> str:
    rest = [f"{len(lacking) - _NAMED} more"] if len(lacking) > _NAMED else []
    shown = ", ".join([*lacking[:_NAMED], *rest])
    name = config.lock.name if config.lock else "the lock"
    return f"not in `{name}`, and taken as it comes: {shown}; `{_command(config)}` brings it up to date"


def _command(config: Config) -> str:
    """What writes the lock that is meant."""
    if config.lock and config.sources.get("lock") == "--lock":
        return f"flytebuild lock --lock {os.path.relpath(config.lock)}"
    return "flytebuild lock"
