"""Where a BuildKit is, how it is reached, and what said so.

It is the one inside a Docker Engine (`flytebuild.engine.EngineAddress`), or a daemon of its own at one of the
addresses that BuildKit's tools know (buildkit `client/connhelper`):

    unix:///run/buildkit/buildkitd.sock
    tcp://HOST:PORT                         with TLS where a certificate is given
    docker-container://NAME                 ?context=
    podman-container://NAME
    kube-pod://POD                          ?context=&namespace=&container=
    ssh://[USER@]HOST[:PORT][/SOCKET]
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlsplit

from msgspec import Struct

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.engine import EngineAddress
from flytebuild.errors import ConfigError, EngineUnavailableError
from flytebuild.streams.ssh import ssh_command

_DIAL = ("buildctl", "dial-stdio")
"""What joins its standard input and output with the daemon beside which it runs."""

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
"""Of a container, a pod, a context: what no program takes for an option."""

_HINT = (
    "known ones: `unix:///PATH`, `tcp://HOST:PORT`, `docker-container://NAME`, `podman-container://NAME`, "
    "`kube-pod://POD` and `ssh://HOST`"
)


class Certificates(Struct, frozen=True):
    """PEM files for TLS: the authority that the daemon's certificate is of, and what we show of ourselves.

    Without `ca` the system's authorities count. `server_name` is the name in the daemon's certificate where it is not
    the address's.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


class Plain(Struct, frozen=True):
    """Reached in the clear; `target` is what grpcio calls it."""

    target: str


class Secured(Struct, frozen=True):
    """Reached by TLS; `target` is what grpcio calls it."""

    target: str
    certificates: Certificates


class Through(Struct, frozen=True):
    """Reached through the standard input and output of a program."""

    command: tuple[str, ...]


class DaemonAddress(Struct, frozen=True):
    """A BuildKit that is no Docker Engine: its address, what said so, and the way there."""

    url: str
    source: str
    way: Plain | Secured | Through

    @property
    def shown(self) -> str:
        """The address for messages; it has no password."""
        return self.url


Address: TypeAlias = EngineAddress | DaemonAddress


def locate(config: Config) -> Address:
    """The first of the BuildKits that build; raises as `locate_all` does."""
    return locate_all(config)[0]


def locate_all(config: Config) -> tuple[Address, ...]:
    """The BuildKits that build: the configured ones, else the one in the Docker Engine that `docker` would use.

    Raises ConfigError for an address that cannot be, EngineUnavailableError when Docker's context cannot be read.
    """
    if not config.builder:
        return (engine.locate(),)
    given = Certificates(config.builder_ca, config.builder_cert, config.builder_key, config.builder_server_name)
    source = f"`{config.sources.get('builder', 'builder')}`"
    return tuple(parse(url, source, given) for url in config.builder)


def parse(url: str, source: str = "the caller", certificates: Certificates | None = None) -> DaemonAddress:
    """Read an address; with `certificates`, `tcp://` means TLS. Raises ConfigError for one that cannot be."""
    # Where it may hold a password it is not repeated.
    shown = f"BuildKit address in {source}" if "@" in url else f"BuildKit address `{url}` in {source}"
    try:
        parts = urlsplit(url)
        if parts.scheme not in _WAYS:
            raise ValueError("it is of no kind that we know")
        if parts.fragment or parts.password is not None:
            raise ValueError("it has parts that such an address has not")
        return DaemonAddress(url, source, _WAYS[parts.scheme](parts, certificates or Certificates()))
    except ValueError as error:
        raise ConfigError(f"The {shown} cannot be used: {error}", hint=_HINT) from error


def unanswered(address: Address, reason: str = "") -> EngineUnavailableError:
    """The error for a BuildKit that does not answer."""
    if isinstance(address, EngineAddress):
        return engine.unavailable(address, reason)
    said = f": {reason}" if reason else ""
    match address.way:
        case Through(command=command):
            hint = f"`{shlex.join(command)}` must do without questions, and find `{_DIAL[0]}` where it ends"
        case Secured():
            hint = "check `builder_ca`, `builder_cert`, `builder_key` and `builder_server_name`, and that it runs"
        case Plain():
            hint = "start it, or set the address of one that runs"
            if address.url.startswith("tcp:"):
                hint += "; where it wants TLS, set `builder_ca`, `builder_cert` and `builder_key`"
    return EngineUnavailableError(f"No BuildKit answers at `{address.shown}` (from {address.source}){said}", hint=hint)


def _unix(parts: SplitResult, _: Certificates) -> Plain:
    if parts.netloc or parts.query or not parts.path.strip("/"):
        raise ValueError("it must be `unix://` and an absolute path")
    return Plain(f"unix:{parts.path}")


def _tcp(parts: SplitResult, certificates: Certificates) -> Plain | Secured:
    if not parts.hostname or not parts.port or parts.username or parts.query or parts.path.strip("/"):
        raise ValueError("it must be `tcp://`, a host and a port")
    if (certificates.certificate is None) != (certificates.key is None):
        raise ValueError("a certificate and its key belong together")
    return Secured(parts.netloc, certificates) if certificates != Certificates() else Plain(parts.netloc)


def _docker(parts: SplitResult, _: Certificates) -> Through:
    container, asked = _named(parts, "context")
    context = (f"--context={asked['context']}",) if "context" in asked else ()
    return Through(("docker", *context, "exec", "-i", container, *_DIAL))


def _podman(parts: SplitResult, _: Certificates) -> Through:
    container, _asked = _named(parts)
    return Through(("podman", "exec", "-i", container, *_DIAL))


def _pod(parts: SplitResult, _: Certificates) -> Through:
    pod, asked = _named(parts, "context", "namespace", "container")
    before, after = [[f"--{key}={asked[key]}" for key in keys if key in asked] for keys in _POD_OPTIONS]
    return Through(("kubectl", *before, "exec", *after, "-i", pod, "--", *_DIAL))


def _ssh(parts: SplitResult, _: Certificates) -> Through:
    if parts.query:
        raise ValueError("it has parts that such an address has not")
    place = ("--addr", f"unix://{parts.path}") if parts.path.strip("/") else ()
    return Through(ssh_command(parts.geturl(), _DIAL[0], *place, *_DIAL[1:]))


def _named(parts: SplitResult, *keys: str) -> tuple[str, Mapping[str, str]]:
    """The name in the place of a host, and what is asked for after it."""
    asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    if parts.path.strip("/") or not set(asked) <= set(keys):
        raise ValueError("it has parts that such an address has not")
    for name in (parts.netloc, *asked.values()):
        if not _NAME.fullmatch(name):
            raise ValueError(f"`{name}` is no name")
    return parts.netloc, asked


_POD_OPTIONS = (("context", "namespace"), ("container",))
_WAYS: Mapping[str, Callable[[SplitResult, Certificates], Plain | Secured | Through]] = {
    "unix": _unix,
    "tcp": _tcp,
    "docker-container": _docker,
    "podman-container": _podman,
    "kube-pod": _pod,
    "ssh": _ssh,
}
