"""Images in the engine's own store: how to look there, and how BuildKit exports to it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from flytebuild.build.labels import IMAGE, observation, tagged
from flytebuild.buildkit.export import Export
from flytebuild.engine import connect
from flytebuild.errors import EngineUnavailableError
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.leftovers import Named, Tagged
from flytebuild.plan import ImagePlan, Observation
from flytebuild.registry.layers import Described, instant
from flytebuild.size import StoredLayer
from flytebuild.spec.images import Platform

if TYPE_CHECKING:
    from datetime import datetime

    import docker
    from docker.models.images import Image


@dataclass
class EngineStore:
    """Images in the store of the user's engine, where `docker images` shows them."""

    _client: docker.DockerClient | None = field(default=None)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def observe(self, reference: str) -> Observation:
        return await asyncio.to_thread(self._observe, reference)

    async def layers(self, reference: str) -> tuple[StoredLayer, ...]:
        return await asyncio.to_thread(self._layers, reference)

    def export(self, reference: str, image_config: str | None) -> Export:
        return Export("moby", {"name": reference}).with_config(image_config)

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        # The engine has named it already.
        return manifest

    async def name(self, source: str, target: str) -> str:
        """Give an image one more name; returns its digest. Raises EngineUnavailableError."""
        return await asyncio.to_thread(self._name, source, target)

    async def tagged(self, repository: str) -> list[Tagged]:
        """All references in a repository to images of flytebuild. Raises EngineUnavailableError."""
        return await asyncio.to_thread(self._tagged, repository)

    async def forget(self, leftover: Named) -> None:
        """Take away an image's names, and the image where it has no other. Raises EngineUnavailableError."""
        await asyncio.to_thread(self._forget, leftover)

    async def platform(self) -> Platform | None:
        """The platform that the engine runs, or None when it does not answer."""
        return await asyncio.to_thread(self._platform)

    def _platform(self) -> Platform | None:
        from docker.errors import DockerException

        try:
            version = self._engine().version()
        except (EngineUnavailableError, DockerException, OSError):
            return None
        return Platform(version["Os"], version["Arch"])

    def _observe(self, reference: str) -> Observation:
        from docker.errors import DockerException, ImageNotFound

        try:
            image = self._engine().images.get(reference)
        except ImageNotFound:
            return Observation(Absent())
        except EngineUnavailableError as error:
            return Observation(Unknown(error.message))
        except (DockerException, OSError) as error:
            return Observation(Unknown(f"the engine does not answer ({type(error).__name__})"))
        return observation(Present(image.id), image.labels)

    def _layers(self, reference: str) -> tuple[StoredLayer, ...]:
        from docker.errors import DockerException, ImageNotFound

        try:
            return _history(self._engine().images.get(reference))
        except ImageNotFound:
            return ()
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"`{reference}` cannot be looked at: {error}") from error

    def _tagged(self, repository: str) -> list[Tagged]:
        from docker.errors import DockerException

        try:
            images = self._engine().images.list(repository, filters={"label": IMAGE})
            found = [(image, Described(image.labels, _made(image), _history(image))) for image in images]
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"The engine's images cannot be listed: {error}") from error
        # Other names of the same image are left as they are: an engine lets go of one name at a time.
        return [
            tagged(name, f"{image.id} {name}", described)
            for image, described in found
            for name in image.tags
            if name.rpartition(":")[0] == repository
        ]

    def _forget(self, leftover: Named) -> None:
        from docker.errors import DockerException, ImageNotFound

        for name in leftover.references:
            try:
                self._engine().images.remove(name)
            except ImageNotFound:
                continue
            except (DockerException, OSError) as error:
                raise EngineUnavailableError(f"`{name}` cannot be removed: {error}") from error

    def _name(self, source: str, target: str) -> str:
        from docker.errors import DockerException

        try:
            image = self._engine().images.get(source)
            image.tag(target)
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"`{source}` cannot be named `{target}`: {error}") from error
        return str(image.id)

    def _engine(self) -> docker.DockerClient:
        with self._lock:
            if self._client is None:
                self._client = connect()
            return self._client

    def close(self) -> None:
        """Close the engine's client, if one was opened."""
        if self._client is not None:
            self._client.close()


def _history(image: Image) -> tuple[StoredLayer, ...]:
    """The layers that an image's history tells of. It has no digests: one is known by all that was done up to it."""
    history = [item for item in reversed(image.history()) if item["Size"]]
    names = accumulate(history, lambda done, item: f"{done}\n{item['CreatedBy']} {item['Size']}", initial="")
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names][1:]
    return tuple(
        StoredLayer(digest, item["Size"], item["CreatedBy"]) for digest, item in zip(digests, history, strict=True)
    )


def _made(image: Image) -> datetime | None:
    return instant(str(image.attrs.get("Created") or ""))
