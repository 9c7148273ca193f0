"""The secrets of a data folder: made once, readable by its owner only."""

from __future__ import annotations

import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from flytebuild.errors import ControlPlaneError

FILE_NAME = "credentials.json"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The owner's access key of the object store, and what links are signed with."""

    key_id: str
    key_secret: str
    link_secret: str

    @property
    def owner_token(self) -> str:
        """What shows that one can read this folder's credentials; containers have no part of it."""
        return self._derived(b"owner")

    @property
    def pass_secret(self) -> str:
        """What the credentials of containers are made of."""
        return self._derived(b"passes")

    def _derived(self, use: bytes) -> str:
        return hmac.new(self.link_secret.encode(), use, "sha256").hexdigest()


def load_or_create(home: Path) -> Credentials:
    """The folder's credentials; two that ask at the same time get the same.

    Raises ControlPlaneError for a file that is damaged.
    """
    path = home / FILE_NAME
    if not path.exists():
        fresh = Credentials(f"FB{secrets.token_hex(16)}", secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        part = home / f".{FILE_NAME}-{secrets.token_hex(4)}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(fresh), file)
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    try:
        return Credentials(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ControlPlaneError(
            f"The credentials in `{path}` cannot be read", hint="remove that file while no control plane runs"
        ) from error
