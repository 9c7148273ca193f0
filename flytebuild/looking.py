"""What is outside: registries and engines are asked, and what they answered is remembered.

`Outside` asks, and connects only when it does. `Remembered` looks into the user's state first, where an answer that is
young enough will do, or any answer when nobody may be asked. Only what is certain is remembered: an image that could
not be looked at is unknown, and is looked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct, field

from flytebuild.config import Config
from flytebuild.engine import current_context, locate
from flytebuild.errors import EngineUnavailableError
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.plan import ImagePlan, Observation, is_in_engine
from flytebuild.registry.reference import Reference, mirrored, parse
from flytebuild.spec.composition import composition, decode
from flytebuild.spec.digests import digests
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.state import State
from flytebuild.threads import in_thread

if TYPE_CHECKING:
    from flytebuild.build.stores import Stores

Answer = TypeVar("Answer")

_UNSEEN = "nobody may be asked for it (`offline`), and nothing is remembered of it"


class Source(Protocol):
    """Whoever can say what is outside."""

    async def platform(self) -> Platform | None:
        """What the builder runs without emulation; None where no engine answers."""

    async def image(self, name: str, platform: Platform | None, digest: str | None = None) -> ResolvedImage:
        """An image that others are made of, the one of a digest if that is given.

        Without a platform nothing of it but its digest.
        """

    async def observe(self, reference: str) -> Observation:
        """What there is under the reference of an image of ours."""


class Outside:
    """Asks registries and the engine; an async context manager. When `offline`, only an engine behind a socket here."""

    def __init__(self, config: Config, *, are_files: bool = False) -> None:
        self._config = config
        self._are_files = are_files
        self._stack = AsyncExitStack()
        self._opened: Stores | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Outside:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def stores(self) -> Stores:
        """Where images are, opened when it is asked for first."""
        # Loaded here: clients of registries and engines take longer to import than a plan that needs none.
        from flytebuild.build.engine_store import EngineStore
        from flytebuild.build.registry_store import RegistryStore
        from flytebuild.build.stores import Stores
        from flytebuild.registry.client import RegistryClient

        async with self._lock:
            if self._opened is None:
                client = await self._stack.enter_async_context(RegistryClient())
                engine = None if self._config.builder else EngineStore()
                if engine:
                    self._stack.callback(engine.close)
                self._opened = Stores(
                    RegistryStore(client, self._config.compression), engine, are_files=self._are_files
                )
            return self._opened

    async def platform(self) -> Platform | None:
        if self._config.offline and not self._has_socket():
            return None
        if self._config.builder:
            return await in_thread(lambda: _builder_platform(self._config), "flytebuild-platform")
        engine = (await self.stores()).engine
        return await engine.platform() if engine else None

    async def image(self, name: str, platform: Platform | None, digest: str | None = None) -> ResolvedImage:
        location = location_of(self._config, name, digest)
        if self._config.offline:
            return ResolvedImage(name, str(location), problem=f"`{location}` is not known: {_UNSEEN}")
        client = (await self.stores()).client
        return await (client.resolve(name, location, platform) if platform else client.pin(name, location))

    async def observe(self, reference: str) -> Observation:
        if self._config.offline and not (is_in_engine(reference) and self._has_socket()):
            return Observation(Unknown(_UNSEEN))
        return await (await self.stores()).of(reference).observe(reference)

    def _has_socket(self) -> bool:
        """Whether there is an engine that is reached without a network."""
        try:
            return not self._config.builder and locate().url.startswith("unix://")
        except EngineUnavailableError:
            return False


class Remembered(Struct):
    """Answers of the state that are at most `seconds` old, and of `source` where there is none.

    When nobody may be asked (`offline`), they may be of any age. `oldest` is when the oldest answer was given that was
    taken from the state, in seconds since the epoch.
    """

    source: Source
    state: State
    config: Config
    seconds: float
    oldest: float | None = None
    _new: dict[str, str] = field(default_factory=dict)

    async def platform(self) -> Platform | None:
        return await self._answer(f"platform {_place(self.config)}", Platform.parse, self.source.platform, _text)

    async def image(self, name: str, platform: Platform | None, digest: str | None = None) -> ResolvedImage:
        location = location_of(self.config, name, digest)
        return await self._answer(
            f"image {location} {platform or ''}",
            lambda text: _read_image(name, str(location), json.loads(text)),
            lambda: self.source.image(name, platform, digest),
            _image_text,
        )

    async def observe(self, reference: str) -> Observation:
        if self.config.offline and is_in_engine(reference):
            # An engine behind a socket knows better than anybody's memory.
            seen = await self.source.observe(reference)
            if not isinstance(seen.fact, Unknown):
                return seen
        return await self._answer(
            question(self.config, reference), read_observation, lambda: self.source.observe(reference), observation_text
        )

    async def observe_all(self, references: Iterable[str]) -> dict[str, Observation]:
        """Look at all references at the same time."""
        asked = list(dict.fromkeys(references))
        return dict(zip(asked, await asyncio.gather(*map(self.observe, asked)), strict=True))

    def keep(self) -> None:
        """Remember what was answered."""
        self.state.record_answers(self._new)
        self._new = {}

    async def _answer(
        self,
        asked: str,
        read: Callable[[str], Answer],
        ask: Callable[[], Awaitable[Answer]],
        write: Callable[[Answer], str | None],
    ) -> Answer:
        known = self.state.answer(asked, None if self.config.offline else self.seconds)
        if known:
            self.oldest = min(known.seen, self.oldest or known.seen)
            return read(known.text)
        answer = await ask()
        if text := write(answer):
            self._new[asked] = text
        return answer


def published(config: Config, image: ImagePlan, manifest: str) -> tuple[str, str | None]:
    """The question about an image and its answer, once the image is there as this manifest."""
    found = digests(image.spec) if image.spec else None
    seen = Observation(
        Present(manifest),
        frozenset(found.layers if found else ()),
        image.digest or "",
        composition(image.spec, found) if image.spec and found else None,
    )
    return question(config, image.reference), observation_text(seen)


def question(config: Config, reference: str) -> str:
    """What is asked of an image of ours: an engine's own images are those of that engine."""
    return f"observe {_place(config) if is_in_engine(reference) else ''} {reference}"


def observation_text(observation: Observation) -> str | None:
    """An observation as it is remembered; None for what is not certain."""
    match observation.fact:
        case Unknown():
            return None
        case Absent():
            return json.dumps({"digest": None})
        case Present(digest=digest):
            made_of = observation.composition.encode() if observation.composition else ""
            layers = sorted(observation.layers)
            return json.dumps({"digest": digest, "layers": layers, "image": observation.image, "made_of": made_of})


def read_observation(text: str) -> Observation:
    """The inverse of `observation_text`."""
    found = json.loads(text)
    if found["digest"] is None:
        return Observation(Absent())
    layers, made_of = frozenset(found["layers"]), decode(found["made_of"])
    return Observation(Present(found["digest"]), layers, found["image"], made_of)


def _text(platform: Platform | None) -> str | None:
    return str(platform) if platform else None


def _image_text(image: ResolvedImage) -> str | None:
    if not image.is_resolved:
        return None
    said = {"config": image.config.document(), "on_build": image.on_build}
    return json.dumps({"digest": image.digest, "size": image.size, **said})


def _read_image(name: str, location: str, found: dict[str, Any]) -> ResolvedImage:
    said = found["config"]
    config = RuntimeConfig(
        env=tuple(said["env"].items()),
        user=said.get("user", ""),
        workdir=said["workdir"],
        entrypoint=tuple(said.get("entrypoint", ())),
        cmd=tuple(said.get("cmd", ())),
        labels=tuple(said.get("labels", {}).items()),
        shell=tuple(said.get("shell", ())),
        other=said.get("other", ""),
    )
    return ResolvedImage(name, location, found["digest"], config, on_build=tuple(found["on_build"]), size=found["size"])


def location_of(config: Config, name: str, digest: str | None) -> Reference:
    """Where an image is fetched from; what names a digest itself is that one."""
    location = parse(mirrored(name, config.mirrors))
    return location.pinned(digest) if digest and not location.digest else location


def _place(config: Config) -> str:
    """What tells engines and builders apart, without asking them, or Docker's own code, for it.

    A digest of the address, which itself may hold a password.
    """
    if config.builder:
        place = ",".join(config.builder)
    else:
        place = os.environ.get("DOCKER_HOST") or f"context {current_context()}"
    return hashlib.blake2b(place.encode(), digest_size=8).hexdigest()


def _builder_platform(config: Config) -> Platform:
    """The first builder's own platform; of a fleet, that of the first one that answers."""
    from flytebuild.buildkit.address import locate_all
    from flytebuild.buildkit.connection import Connection

    failures = []
    for address in locate_all(config):
        try:
            with Connection.open(address) as connection:
                return connection.worker().platform
        except EngineUnavailableError as error:
            failures.append(error)
    raise failures[0]
