"""Finding the user's Docker Engine the way the `docker` command does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flytebuild.errors import EngineUnavailableError

if TYPE_CHECKING:
    import docker
    from docker.tls import TLSConfig

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine is (`unix://`, `tcp://`, `ssh://` …) and what said so."""

    url: str
    source: str
    tls: TLSConfig | None = None


def locate() -> EngineAddress:
    """The address that the `docker` command would use: `DOCKER_HOST`, the current context, the default socket.

    Raises EngineUnavailableError when the context that is asked for cannot be read.
    """
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
        if "Permission denied" in str(error):
            raise EngineUnavailableError(
                f"The Docker Engine at `{address.url}` may not be used by this user",
                hint="add the user to the group `docker`, or point `DOCKER_HOST` at an engine of your own",
            ) from error
        raise unavailable(address) from error
    return client


def unavailable(address: EngineAddress) -> EngineUnavailableError:
    """The error for an engine that does not answer at `address`."""
    return EngineUnavailableError(
        f"No Docker Engine answers at `{address.url}` (from {address.source})",
        hint="start Docker, or point `DOCKER_HOST` or `docker context use` at an engine that runs",
    )
