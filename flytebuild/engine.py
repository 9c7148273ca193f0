"""Finding the user's Docker Engine the way the `docker` command does, and connections to it."""

from __future__ import annotations

import json
import os
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from flytebuild.errors import ConfigError, EngineUnavailableError

if TYPE_CHECKING:
    import docker
    from docker.tls import TLSConfig

_PASSWORD = re.compile(r"(?<=//)([^/@:]*):[^/@]*@")
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")
_FORBIDDEN = "Permission denied"
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


class EngineAddress(Struct, frozen=True):
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
    # Docker's own code takes longer to import than a plan that needs no engine, and is needed for the rest.
    if os.environ.get("DOCKER_HOST"):
        if not os.environ.get("DOCKER_TLS_VERIFY"):
            return EngineAddress(os.environ["DOCKER_HOST"], "`DOCKER_HOST`")
    elif current_context() == "default":
        return EngineAddress(DEFAULT_ADDRESS, "the default socket")
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
        reason = getattr(error, "strerror", None) or error
        raise EngineUnavailableError(f"Docker's context cannot be read: {reason}") from error
    return EngineAddress(DEFAULT_ADDRESS, "the default socket")


def current_context() -> str | None:
    """The name of Docker's current context; None where its configuration cannot be read."""
    if name := os.environ.get("DOCKER_CONTEXT"):
        return name
    file = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker", "config.json")
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("currentContext") or "default"
    except FileNotFoundError:
        return "default"
    except (OSError, ValueError, AttributeError):
        return None


def connect(timeout: float = 60) -> docker.DockerClient:
    """A client of the user's engine, which has answered once; `timeout` is each request's, in seconds.

    Raises EngineUnavailableError, saying what was tried and what to do, and ConfigError as `locate` does.
    """
    import docker
    from docker.errors import DockerException

    from flytebuild.streams.dial import dialler
    from flytebuild.streams.splice import Bridge

    address = locate()
    # By `ssh`, Docker's SDK would give us connections that are no sockets; by TLS, it would trust the authorities that
    # `REQUESTS_CA_BUNDLE` names instead of the engine's.
    made = dialler(address) if address.tls or address.url.startswith("ssh://") else None
    bridge = Bridge(made.dial) if made else None
    client = None
    try:
        url = bridge.url if bridge else address.url
        client = docker.DockerClient(base_url=url, timeout=timeout, version="auto")
        client.ping()
    except (DockerException, OSError, ValueError) as error:
        if client is not None:
            client.close()
        reason = _FORBIDDEN if _FORBIDDEN in str(error) else ""
        if made and bridge:
            reason = made.complaint()
            bridge.close()
        raise unavailable(address, reason) from error
    if bridge is not None:
        # Its connections are the client's.
        weakref.finalize(client.api, bridge.close)
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
