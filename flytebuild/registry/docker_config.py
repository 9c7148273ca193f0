"""Files with credentials, as `docker login` and `podman login` write them.

https://github.com/docker/cli/blob/master/docs/reference/commandline/login.md and `containers-auth.json(5)`. Keys of
podman's may name a place within a registry, `host/team/image`; the most specific one counts.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flytebuild.registry.reference import DOCKER_HUB

HUB_KEY = "https://index.docker.io/v1/"
"""What Docker's tools call the Docker Hub."""

_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and password, or an empty user name and an identity token. Never printed."""

    username: str
    secret: str = field(repr=False)

    def __repr__(self) -> str:
        return "Credentials(…)"


class AuthFileError(Exception):
    """Raised for a file, or an entry of one, that cannot be read; the text says which."""


@dataclass(frozen=True, slots=True)
class AuthFile:
    """One file: its entries by place, the program that knows a registry's, and the one that knows all others'."""

    path: Path
    entries: Mapping[str, Mapping[str, Any]] = field(repr=False)
    helpers: Mapping[str, str]
    store: str

    @classmethod
    def load(cls, path: Path) -> AuthFile | None:
        """Read a file; None where there is none. Raises AuthFileError."""
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuthFileError(f"`{path}` cannot be read ({error.strerror})") from error
        except ValueError:
            raise AuthFileError(f"`{path}` is not JSON") from None
        tables = [document.get(name) or {} for name in ("auths", "credHelpers")] if isinstance(document, dict) else []
        if not tables or not all(isinstance(table, dict) for table in tables):
            raise AuthFileError(f"`{path}` is not a file with credentials")
        entries = {normalised(key): entry for key, entry in tables[0].items() if isinstance(entry, dict)}
        helpers = {normalised(key): helper for key, helper in tables[1].items() if isinstance(helper, str)}
        store = document.get("credsStore")
        return cls(path, entries, helpers, store if isinstance(store, str) else "")

    def entry(self, registry: str) -> Credentials | None:
        """What the file itself holds for a registry. Raises AuthFileError."""
        return self._credentials(registry)

    def entry_within(self, registry: str, repository: str) -> Credentials | None:
        """What it holds for a place within the registry, the most specific that has the repository."""
        parts = repository.split("/") if repository else []
        places = ("/".join((registry, *parts[:end])) for end in range(len(parts), 0, -1))
        return next((found for place in places if (found := self._credentials(place))), None)

    def _credentials(self, place: str) -> Credentials | None:
        entry = self.entries.get(place, {})
        if token := entry.get("identitytoken"):
            return Credentials("", str(token))
        username, secret = str(entry.get("username") or ""), str(entry.get("password") or "")
        if encoded := entry.get("auth"):
            try:
                username, _, secret = base64.b64decode(str(encoded), validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                raise AuthFileError(f"the entry for `{place}` in `{self.path}` cannot be read") from None
        return Credentials(username, secret.rstrip("\0")) if username or secret else None


def normalised(key: str) -> str:
    """A registry, or a place within one, as all its spellings have it."""
    _, scheme, rest = key.rpartition("://")
    host, _, path = rest.strip("/").partition("/")
    # Registries once had addresses of an API as their names.
    path = "" if scheme and path in ("v1", "v2") else path
    host = DOCKER_HUB if host in _HUB_NAMES else host
    return f"{host}/{path}" if path else host
