"""Images on the engine: there, or pulled, with what is pulled told and its patience kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from flytebuild import folders
from flytebuild.errors import UsageError
from flytebuild.plan import is_in_engine
from flytebuild.registry.credentials import Credentials, api_host, find
from flytebuild.registry.reference import mirrored, parse
from flytebuild.runtime.executor import StartError, Tell, tell_nobody
from flytebuild.runtime.requests import Requests, reason
from flytebuild.runtime.watcher import Patience
from flytebuild.state import State
from flytebuild.threads import in_thread

_TELL_SECONDS = 1.0
"""How often it is told how far a pull is."""

_PAUSES = (0.5, 1.0)
"""Seconds before another try at a pull that broke off: engines lose connections, and content that they had found."""


class Images:
    """The images of one engine; `api` is a `docker.APIClient`. Several that want one image share its pull."""

    def __init__(self, api: Any, requests: Requests, mirrors: Mapping[str, str], patience: Patience) -> None:
        self._api = api
        self._requests = requests
        self._mirrors = mirrors
        self._patience = patience
        self._pulls: dict[str, asyncio.Lock] = {}

    async def present(self, image: str, tell: Tell = tell_nobody) -> str:
        """The name under which the engine has an image, pulled from a mirror if there is one for it.

        Raises StartError.
        """
        from docker.errors import APIError

        try:
            if await self._requests.ask(partial(self._has, image)):
                return image
            if is_in_engine(image):
                await self._requests.ask(partial(_doubt, image))
                raise StartError(
                    "ImagePullBackOff", f"Image `{image}` is not in the engine's store; the next run builds it"
                )
            source = mirrored(image, self._mirrors)
            async with self._pulls.setdefault(source, asyncio.Lock()):
                if not await self._requests.ask(partial(self._has, source)):
                    await self._pull(source, tell)
            return source
        except UsageError as error:
            raise StartError("InvalidImageName", error.message, is_system=False) from error
        except StartError:
            raise
        except APIError as error:
            await self._requests.ask(partial(_doubt, image))
            raise StartError("ImagePullBackOff", f"Image `{image}` cannot be pulled: {reason(error)}") from error
        except Exception as error:  # Of several HTTP layers, where a pull breaks off.
            raise StartError("EngineUnavailable", f"The engine does not answer: {error}") from error

    async def labels(self, image: str) -> dict[str, str] | None:
        """The labels of an image by its name or digest; None where the engine does not have it, or does not answer."""
        from docker.errors import DockerException

        try:
            found = await self._requests.ask(partial(self._api.inspect_image, image))
        except (DockerException, OSError):
            return None
        return dict((found.get("Config") or {}).get("Labels") or {})

    def _has(self, image: str) -> bool:
        from docker.errors import NotFound

        try:
            self._api.inspect_image(image)
        except NotFound:
            return False
        return True

    async def _pull(self, image: str, tell: Tell) -> None:
        """Pull an image for as long as it makes progress."""
        pull = _Pull(self._api, image)
        pulling = in_thread(pull.run, f"pull-{image}")
        while not pulling.done():
            left = pull.heard + self._patience.pull - time.monotonic()
            if left <= 0:
                message = f"Image `{image}` cannot be pulled: no progress for {self._patience.pull:g} s"
                raise StartError("ImagePullBackOff", message)
            tell(f"pulling its image{pull.progress}")
            await asyncio.wait([pulling], timeout=min(left, _TELL_SECONDS))
        tell("")
        await pulling


def _doubt(image: str) -> None:
    """Have the next plan ask for an image again, however short a time ago it was seen in its registry."""
    with State.open(folders.state_file()) as state:
        state.outdate_answers([image])


class _Pull:
    """One image on its way, with the credentials that there are by now; `heard` is when the engine last spoke."""

    def __init__(self, api: Any, image: str) -> None:
        self._api = api
        self._image = image
        self._moved: dict[str, tuple[int, int]] = {}
        self.heard = time.monotonic()

    @property
    def progress(self) -> str:
        """How far it is, for people; nothing while that is not known."""
        current, total = (sum(column) // 1_000_000 for column in zip((0, 0), *list(self._moved.values()), strict=True))
        return f", {current} of {total} MB" if total else ""

    def run(self) -> None:
        """Pull, and begin again where it breaks off. Raises APIError, for a refusal at once."""
        from docker.errors import APIError

        broken = self._once()
        for pause in _PAUSES:
            if broken:
                time.sleep(pause)
                broken = self._once()
        if broken:
            raise APIError(broken)

    def _once(self) -> str:
        """What broke it off, if anything did."""
        source = parse(self._image)
        found = find(api_host(source.registry), source.repository)
        for message in self._api.pull(self._image, stream=True, decode=True, auth_config=_auth_config(found)):
            self.heard = time.monotonic()
            if "error" in message:
                return str(message["error"])
            detail = message.get("progressDetail") or {}
            if message.get("status") == "Downloading" and detail.get("total"):
                self._moved[message["id"]] = (detail["current"], detail["total"])
        return ""


def _auth_config(credentials: Credentials | None) -> dict[str, str] | None:
    """Credentials as the engine's API takes them; None leaves them to Docker's SDK."""
    if credentials is None:
        return None
    if not credentials.username:
        return {"identitytoken": credentials.secret}
    return {"username": credentials.username, "password": credentials.secret}
