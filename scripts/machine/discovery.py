"""Find the engine that the user has, the way `docker` finds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from scripts.machine.docker_api import Address
from scripts.machine.report import MachineError

DEFAULT_HOST = "unix:///var/run/docker.sock"


def find_engine(environ: Mapping[str, str], home: Path, *, own_host: str) -> Address | None:
    """The engine that answers; None when there is none, or when `DOCKER_HOST` names our own (`own_host`).

    Raises MachineError when `DOCKER_HOST` names an engine that does not answer: the user wants that one and no other.
    """
    host = environ.get("DOCKER_HOST")
    if host == own_host:
        return None
    if host:
        address = Address(host, _certificates(environ, home))
        if not address.is_answering():
            raise MachineError(
                f"`DOCKER_HOST` is `{host}`, and no engine answers there",
                hint="start that engine, or unset `DOCKER_HOST`",
            )
        return address
    candidates = (_current_context(environ, home), Address(DEFAULT_HOST))
    return next((address for address in candidates if address and address.is_answering()), None)


def _certificates(environ: Mapping[str, str], home: Path) -> Path | None:
    if not environ.get("DOCKER_TLS_VERIFY"):
        return None
    return Path(environ.get("DOCKER_CERT_PATH") or _configuration(environ, home))


def _configuration(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker")


def _current_context(environ: Mapping[str, str], home: Path) -> Address | None:
    """Where the docker command's current context points to, if it is not the default one."""
    folder = _configuration(environ, home)
    name = environ.get("DOCKER_CONTEXT") or _read(folder / "config.json").get("currentContext")
    if not isinstance(name, str) or name == "default":
        return None
    # `docker` names a context's folders by the digest of its name.
    digest = hashlib.sha256(name.encode()).hexdigest()
    endpoints = _read(folder / "contexts/meta" / digest / "meta.json").get("Endpoints")
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = endpoint.get("Host") if isinstance(endpoint, dict) else None
    certificates = folder / "contexts/tls" / digest / "docker"
    return Address(host, certificates if certificates.is_dir() else None) if isinstance(host, str) else None


def _read(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
