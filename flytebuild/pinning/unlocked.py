"""What layers come to where no lock says it, for images whose packages are wheel layers all the same.

It is decided anew every day, as indexes have new versions, and where the host has other indexes; until then it is
remembered: planning twice decides once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime, timezone
from hashlib import sha256
from importlib.metadata import version

from msgspec.structs import replace

from flytebuild import indexes
from flytebuild.config import Config
from flytebuild.errors import UnavailableError, UntrueError
from flytebuild.events import Emit, Notice
from flytebuild.looking import Source
from flytebuild.registry.client import RegistryClient
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.model import ImageSpec
from flytebuild.state import State
from flytebuild.wheels import lockfile
from flytebuild.wheels.lock import Lock, LockedImage, Specs, UnlockedLayer
from flytebuild.wheels.pylock import without_credentials
from flytebuild.wheels.questions import Question, questions

_KIND = "resolution"
_SHORT = 12


async def decided(
    config: Config, specs: Specs, connect: Callable[[], Awaitable[RegistryClient]], state: State, emit: Emit
) -> Lock:
    """A lock for these images, that is in no file. What no index or registry can be asked for stays as it is.

    Raises DefinitionError for requirements that cannot be met, UntrueError where an index is not to be trusted.
    """
    asked = {question.fingerprint: (spec, question) for spec, question in _questions(specs)}
    stamp = _stamp()
    known = {name: entry for name in asked if (entry := _recall(name, state)) and (config.offline or entry.uv == stamp)}
    found = Lock(
        stamp,
        _each(entry.images for entry in known.values()),
        # Without their environments: what others have decided is no reason to prefer it.
        layers=tuple(replace(layer, environments=()) for entry in known.values() for layer in entry.layers),
        unlocked=tuple(layer for entry in known.values() for layer in entry.unlocked),
    )
    missing = [item for name, item in asked.items() if name not in known]
    if not missing:
        return found
    if config.offline:
        return _without(found, missing, "nobody may be asked which versions there are (`offline`)")
    # Loaded here: what is remembered needs nothing of it.
    from flytebuild.pinning import locking

    answering = locking.resolver(config, found, await connect(), state, emit)
    try:
        layers, unlocked = await answering.layers(specs)
        ready = await locking.ready_bases(specs, found.ready, answering.base, emit)
    except UntrueError:
        raise
    except UnavailableError as error:
        emit(Notice(f"{error.message}; its packages are installed as they come"))
        return _without(found, missing, "its versions could not be found out")
    bases = {name: locking.with_ready(_base(spec), ready) for name, (spec, _) in asked.items()}
    for layer in layers:
        _remember(Lock(stamp, bases[layer.fingerprint], (layer,)), layer.fingerprint, state)
    for other in unlocked:
        _remember(Lock(stamp, bases[other.fingerprint], unlocked=(other,)), other.fingerprint, state)
    return Lock(stamp, _each(bases.values()), layers, unlocked)


async def tool(source: Source, name: str, platform: Platform, emit: Emit) -> ResolvedImage:
    """An image that makes wheel layers, as it is found. Images are others without it, so it is told where it is not."""
    found = await source.image(name, platform)
    if not found.is_resolved:
        emit(Notice(f"`{name}`, which makes wheel layers, is not known, so images have none: {found.problem}"))
    return found


def _stamp() -> str:
    """What is said of an answer: who gave it, on which day, and from which of the host's indexes."""
    urls = (without_credentials(url) for name in indexes.VARIABLES for url in (name, *os.environ.get(name, "").split()))
    asked = sha256(" ".join(urls).encode()).hexdigest()[:_SHORT]
    return f"{version('uv')} {datetime.now(timezone.utc).date()} {asked}"


def _questions(specs: Specs) -> Iterator[tuple[ImageSpec, Question]]:
    for variants in specs.values():
        for spec in variants.values():
            yield from ((spec, question) for question in questions(spec))


def _base(spec: ImageSpec) -> tuple[LockedImage, ...]:
    """An image's base, as what is remembered of its layers has it."""
    base = spec.base
    return (LockedImage(base.reference, str(spec.platform), base.digest),) if base and base.digest else ()


def _each(images: Iterable[Iterable[LockedImage]]) -> tuple[LockedImage, ...]:
    """Images each once, by their digests."""
    return tuple({image.digest: image for found in images for image in found}.values())


def _recall(fingerprint: str, state: State) -> Lock | None:
    text = state.remembered(_KIND, fingerprint)
    return lockfile.decode(text, _KIND) if text else None


def _remember(entry: Lock, fingerprint: str, state: State) -> None:
    state.remember(_KIND, fingerprint, lockfile.encode(entry))


def _without(lock: Lock, missing: list[tuple[ImageSpec, Question]], reason: str) -> Lock:
    left = (
        UnlockedLayer(question.layer.summary, str(spec.platform), question.fingerprint, (), question.reason or reason)
        for spec, question in missing
    )
    return Lock(lock.uv, lock.images, layers=lock.layers, unlocked=(*lock.unlocked, *left))
