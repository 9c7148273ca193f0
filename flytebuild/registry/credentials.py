"""Credentials for registries, from where `docker login` left them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from flytebuild.registry.reference import DOCKER_HUB

logger = logging.getLogger(__name__)

_HUB_API = "registry-1.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and password, or an empty user name and an identity token. Never printed."""

    username: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(…)"


def api_host(registry: str) -> str:
    """The host that answers for a registry: the Docker Hub's API has another name than its images."""
    return _HUB_API if registry in (DOCKER_HUB, "index.docker.io") else registry


def find(host: str) -> Credentials | None:
    """What Docker's configuration (`auths`, `credHelpers`, `credsStore`) holds for a registry host, or None."""
    from docker.auth import load_config
    from docker.errors import DockerException

    key = _HUB_KEY if host in (_HUB_API, DOCKER_HUB, "index.docker.io") else host
    try:
        entry = load_config().resolve_authconfig(key)
    except DockerException as error:
        # An anonymous call may still do; if not, the registry's own refusal is the error that counts.
        logger.warning("Docker's credentials for `%s` cannot be read: %s", host, error)
        return None
    if not entry:
        return None
    token = entry.get("identitytoken") or entry.get("IdentityToken")
    if token:
        return Credentials("", token)
    username = entry.get("username") or entry.get("Username") or ""
    secret = entry.get("password") or entry.get("Password") or entry.get("Secret") or ""
    return Credentials(username, secret) if username or secret else None
