"""A store of the user's own: any that speaks S3, with the credentials that AWS's tools would take.

Its address is configured, its credentials never are: they come from `AWS_ACCESS_KEY_ID` and its like, or from the
profile (`AWS_PROFILE`) in the file that `aws configure` writes, looked up whenever they are needed. Containers
get them as variables, and they stand nowhere else: on no command line, in no file of ours, on no page.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError, UsageError

_FILE = "~/.aws/credentials"


class CredentialsMissingError(Exception):
    """Raised where there are no credentials; says where they were looked for."""


@dataclass(frozen=True, slots=True)
class Key:
    """An access key; `token` belongs to one that ends by itself."""

    identifier: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OwnStorage:
    """Where it is: `base` is `s3://BUCKET[/PREFIX]`; without an endpoint it is Amazon's."""

    base: str
    endpoint: str | None = None
    region: str = "us-east-1"

    def reached_by(self, name: str) -> OwnStorage:
        """The same for a container, which calls this machine by another name."""
        if not self._is_here:
            return self
        parts = urlsplit(self.endpoint or "")
        place = f"{name}:{parts.port}" if parts.port else name
        return OwnStorage(self.base, urlunsplit(parts._replace(netloc=place)), self.region)

    def check_reach(self, engine: str) -> None:
        """Raise UsageError where the containers of an engine on another machine would look for it there."""
        if self._is_here:
            raise UsageError(
                f"The store at `{self.endpoint}` is this machine's alone, and the engine at `{engine}` is on another",
                hint="set `storage_endpoint` to an address that leads there from both",
            )

    @property
    def _is_here(self) -> bool:
        return urlsplit(self.endpoint or "").hostname in ("127.0.0.1", "localhost", "::1")

    def variables(self, key: Key) -> dict[str, str]:
        """How Flyte's SDK finds it, on the host and in containers."""
        found = {
            "FLYTE_AWS_ENDPOINT": self.endpoint,
            "FLYTE_AWS_ACCESS_KEY_ID": key.identifier,
            "FLYTE_AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_SESSION_TOKEN": key.token,
            "AWS_REGION": self.region,
        }
        return {name: value for name, value in found.items() if value}


def configured(config: Config) -> OwnStorage | None:
    """What a configuration says; None where the control plane keeps objects itself."""
    return OwnStorage(config.storage, config.storage_endpoint, config.storage_region) if config.storage else None


def missing(storage: OwnStorage, error: CredentialsMissingError) -> ControlPlaneError:
    """That a store is configured, and nobody may reach it."""
    return ControlPlaneError(f"There are no credentials for `{storage.base}`: {error}")


def find_key(environ: Mapping[str, str]) -> Key:
    """The credentials that there are now. Raises CredentialsMissingError."""
    if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        token = environ.get("AWS_SESSION_TOKEN") or None
        return Key(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], token)
    path = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or _FILE).expanduser()
    profile = environ.get("AWS_PROFILE") or "default"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser[profile]
        return Key(section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token"))
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        # Not from the error, which may have a line of the file.
        raise CredentialsMissingError(
            f"neither `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are set, nor has `{path}` a profile `{profile}` "
            "with both"
        ) from None
