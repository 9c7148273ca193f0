"""Finding the user's Docker Engine the way the `docker` command does."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flytebuild.errors import ConfigError, EngineUnavailableError, UsageError

if TYPE_CHECKING:
    import docker
    from docker.tls import TLSConfig

_PASSWORD = re.compile(r"(?<=//)([^/@:]*):[^/@]*@")
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")
_FORBIDDEN = "Permission denied"
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine is (`unix://`, `tcp://`, `ssh://` …) and what said so."""

    url: str
    source: str
    tls: TLSConfig | None = None

    @property
    def is_here(self) -> bool:
        """Whether the engine is on this machine, or in one that it has for that, as far as its address tells."""
        parts = urlsplit(self.url)
        return parts.scheme == "unix" or parts.hostname in ("localhost", "127.0.0.1", "::1")

    @property
    def shown(self) -> str:
        """The address for messages: without a password."""
        return _PASSWORD.sub(r"\1@", self.url)


def locate() -> EngineAddress:
    """The address that the `docker` command would use: `DOCKER_HOST`, the current context, the default socket.

    Raises EngineUnavailableError when the context that is asked for cannot be read, ConfigError for an address that
    cannot be an engine's.
    """
    found = _locate()
    try:
        parts = urlsplit(found.url)
        if parts.scheme not in _SCHEMES or not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise ValueError("neither a socket nor a host")
        _ = parts.port  # Raises for one that is no number.
    except ValueError as error:
        raise ConfigError(
            f"`{found.shown}` (from {found.source}) is no address of a Docker Engine",
            hint="use a `unix://`, `tcp://` or `ssh://` address",
        ) from error
    if any(name.startswith("-") for name in (parts.username or "", parts.hostname or "")):
        raise ConfigError(
            f"`{found.shown}` (from {found.source}) names a user or host that begins with `-`",
            hint="programs would take it for an option; give the engine's machine another name",
        )
    return found


def _locate() -> EngineAddress:
    from docker.context import ContextAPI
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        if os.environ.get("DOCKER_HOST"):
            settings = kwargs_from_env()
            return EngineAddress(os.environ["DOCKER_HOST"], "`DOCKER_HOST`", settings.get("tls") or None)
        name = os.environ.get("DOCKER_CONTEXT")
        context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
        if name and context is None:
            raise EngineUnavailableError(
                f"There is no Docker context called `{name}`", hint="`docker context ls` lists them"
            )
        if context is not None and context.name != "default" and context.Host:
            return EngineAddress(context.Host, f"docker context `{context.name}`", context.TLSConfig)
    except (DockerException, OSError, ValueError) as error:
        raise EngineUnavailableError(f"Docker's context cannot be read: {error}") from error
    return EngineAddress(DEFAULT_ADDRESS, "the default socket")


def require_here() -> None:
    """Raise UsageError for an engine whose containers would look for the control plane on another machine.

    Errors as in `locate` besides.
    """
    address = locate()
    if not address.is_here:
        raise UsageError(
            f"Tasks cannot run on the engine at `{address.shown}` (from {address.source}): its containers would not "
            "reach the control plane on this machine",
            hint="use an engine of this machine for runs; images can be built there, and pulled from a registry",
        )


def connect(timeout: float = 60) -> docker.DockerClient:
    """A client of the user's engine, which has answered once; `timeout` is each request's, in seconds.

    Raises EngineUnavailableError, saying what was tried and what to do.
    """
    import docker
    from docker.errors import DockerException

    address = locate()
    client = None
    try:
        client = docker.DockerClient(
            base_url=address.url,
            tls=address.tls or False,
            timeout=timeout,
            use_ssh_client=address.url.startswith("ssh://"),
            version="auto",
        )
        client.ping()
    except (DockerException, OSError, ValueError) as error:
        if client is not None:
            client.close()
        raise unavailable(address, _FORBIDDEN if _FORBIDDEN in str(error) else "") from error
    return client


def unavailable(address: EngineAddress, reason: str = "") -> EngineUnavailableError:
    """The error for an engine that does not answer at `address`."""
    if reason == _FORBIDDEN:
        return EngineUnavailableError(
            f"The Docker Engine at `{address.shown}` may not be used by this user",
            hint="add the user to the group `docker`, or point `DOCKER_HOST` at an engine of your own",
        )
    said = f": {reason}" if reason else ""
    return EngineUnavailableError(
        f"No Docker Engine answers at `{address.shown}` (from {address.source}){said}",
        hint="start Docker, or point `DOCKER_HOST` or `docker context use` at an engine that runs",
    )
