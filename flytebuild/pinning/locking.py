"""How `flytebuild.lock` comes about: what layers ask, answered with what the host knows."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping

from msgspec.structs import replace

from flytebuild.build.secrets import host_passwords, layer_secrets
from flytebuild.build.veil import Veil
from flytebuild.config import Config
from flytebuild.errors import RegistryUnavailableError
from flytebuild.events import Emit, Notice
from flytebuild.llb.trust import secret_id
from flytebuild.pinning.locked import named_images
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import parse
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import secrets_of
from flytebuild.spec.model import ImageSpec
from flytebuild.state import State
from flytebuild.threads import in_thread
from flytebuild.wheels import base as bases
from flytebuild.wheels.base import Base
from flytebuild.wheels.lock import Lock, LockedImage, Specs, apply, merged, order
from flytebuild.wheels.metadata import MetadataReader
from flytebuild.wheels.modules import ModuleReader
from flytebuild.wheels.questions import Question, questions
from flytebuild.wheels.recipe import tools_needed
from flytebuild.wheels.resolver import NOTHING, Moves, Resolver
from flytebuild.wheels.uv import Uv


async def lock(
    config: Config,
    specs: Specs,
    before: Lock | None,
    moves: Moves,
    client: RegistryClient,
    state: State,
    emit: Emit,
    *,
    is_partial: bool,
) -> Lock:
    """The lock for these images: what `before` says of them stays, but for what has to move or is meant to.

    `is_partial` where the images are not all that the lock is for. Raises as `Resolver.layers` does, and
    RegistryUnavailableError where an image cannot be looked at.
    """
    images = tuple(
        LockedImage(image.reference, str(platform), image.digest or "") for platform, image in named_images(specs)
    )
    for _, image in named_images(specs):
        if image.digest is None:
            raise RegistryUnavailableError(f"`{image.reference}` cannot be locked: {image.problem}")
    answering = resolver(config, before or Lock(), client, state, emit, moves)
    layers, unlocked = await answering.layers(specs)
    ready = await ready_bases(specs, before.ready if before else {}, answering.base, emit)
    after = Lock(answering.uv.version, with_ready(images, ready), layers, unlocked)
    platforms = frozenset(str(platform) for variants in specs.values() for platform in variants)
    whole = merged(before, after, platforms, frozenset(specs) if is_partial else None) if before else after
    return await _with_modules(whole, ModuleReader(state, config.ca_bundle), emit)


async def _with_modules(lock: Lock, reader: ModuleReader, emit: Emit) -> Lock:
    """The lock with the modules of its wheels, which checks ask for: as far as whoever serves these tells them."""
    pins = list(dict.fromkeys(pin for layer in lock.layers for pin in layer.pins))
    found = await in_thread(lambda: reader.named(pins), "flytebuild-modules")
    for host in found.silent:
        emit(Notice(f"`{host}` does not answer in time: the next lock asks again which modules its wheels bring"))
    named = {pin: pin for pin in found.pins}
    layers = (replace(layer, pins=tuple(named[pin] for pin in layer.pins)) for layer in lock.layers)
    return replace(lock, layers=tuple(layers))


def without(lock: Lock | None, moves: Moves) -> Lock:
    """A lock without the images that are meant to move."""
    lock = lock or Lock()
    return replace(lock, images=tuple(image for image in lock.images if image.reference not in moves))


def resolver(
    config: Config, before: Lock, client: RegistryClient, state: State, emit: Emit, moves: Moves = NOTHING
) -> Resolver:
    """What answers the questions of images with all that the host knows."""

    async def base(spec: ImageSpec) -> Base:
        assert spec.base is not None  # noqa: S101 - only images with a base have questions
        image = parse(spec.base.location).pinned(spec.base.digest or "")
        return await bases.read(client, image, state, emit)

    secrets, uv = _Secrets(config), Uv(os.environ, config.ca_bundle)
    metadata = MetadataReader(state, config.ca_bundle)
    return Resolver(uv, metadata, base, secrets.variables, secrets.hide, before, moves, emit)


async def ready_bases(
    specs: Specs, known: Mapping[str, bool], read: Callable[[ImageSpec], Awaitable[Base]], emit: Emit
) -> Mapping[str, bool]:
    """Whether bases are ready, by their digests: those that packages are locked for, since these were looked into.

    What is `known` stays, also of bases that only other images have packages on. Of one that cannot be read now it is
    told.
    """
    bases = {
        spec.base.digest: spec
        for variants in specs.values()
        for spec in variants.values()
        if spec.base and spec.base.digest and any(not question.reason for question in questions(spec))
    }
    found = dict(known)
    for digest, spec in bases.items():
        if digest not in found:
            try:
                found[digest] = (await read(spec)).is_ready
            except RegistryUnavailableError as error:
                emit(Notice(f"{error.message}; so its images are made on top of it"))
    return found


def with_ready(images: Iterable[LockedImage], ready: Mapping[str, bool]) -> tuple[LockedImage, ...]:
    """The images with what is known of them as bases."""
    return tuple(replace(image, is_ready=ready.get(image.digest)) for image in images)


async def with_tools(
    lock: Lock,
    specs: Specs,
    before: Lock,
    resolve: Callable[[str, Platform], Awaitable[ResolvedImage]],
    emit: Emit,
) -> Lock:
    """The lock with the images that make wheel layers: the layers' keys have their digests.

    Those that it has stay, whether they are there at the moment or not. Of one that is not known it is told.
    """
    made, _ = apply(specs, lock)
    wanted = {
        (tool, item) for variants in made.values() for item, spec in variants.items() for tool in tools_needed(spec)
    }
    found = set[LockedImage]()
    for tool, platform in sorted(wanted, key=str):
        digest, problem = before.digest_of(tool, platform), ""
        if digest is None:
            image = await resolve(tool, platform)
            digest, problem = image.digest, image.problem
        if digest and not lock.digest_of(tool, platform):
            found.add(LockedImage(tool, str(platform), digest))
        elif not digest:
            kept = "packages are installed by steps until `flytebuild lock` finds it"
            emit(Notice(f"`{tool}`, which makes wheel layers, is not locked: {problem}; {kept}"))
    return replace(lock, images=tuple(sorted({*lock.images, *found}, key=order)))


class _Secrets:
    """The secrets of layers that are resolved, and what hides them in messages; no struct, which would show them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[str, bytes] = {}

    def variables(self, spec: ImageSpec, question: Question) -> Mapping[str, str]:
        """The variables of one layer's secrets. Raises DefinitionError for one that is not where it should be."""
        wanted = secrets_of(question.layer)
        if any(secret_id(secret) not in self._known for secret in wanted):
            alone = replace(spec, steps=(question.step,))
            self._known.update(layer_secrets((alone,), os.environ, self._config.secrets))
        return {secret.env: self._known[secret_id(secret)].decode() for secret in wanted if secret.env}

    def hide(self, text: str) -> str:
        """The text without them, and without the passwords of the host's indexes."""
        return Veil((*self._known.values(), *host_passwords(os.environ))).hide(text)
