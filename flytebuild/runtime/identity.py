"""What a control plane was started with, so that a command can tell whether it is the one that it wants."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError

_TITLES = {
    "engine": "engine",
    "mirrors": "mirrors",
    "ca_bundle": "CA bundle",
    "ca_digest": "CA bundle's content",
    "warm": "warm containers",
    "contact_timeout": "contact timeout",
    "storage": "storage",
    "flytebuild": "flytebuild",
    "flyte": "flyte",
    "python": "Python",
}
_PASSWORD = re.compile(r"(^|//)([^/@:]*):[^/@]*@")


def fingerprint(config: Config, bundle: bytes | None) -> dict[str, object]:
    """What a control plane with these settings works with, as JSON; it holds no secret, for everybody may read it.

    `bundle` is the content of `config.ca_bundle`. Raises EngineUnavailableError when Docker's context cannot be read.
    """
    return {
        "engine": _without_password(engine.locate().url),
        "mirrors": {name: _without_password(target) for name, target in sorted(config.mirrors.items())},
        "ca_bundle": str(config.ca_bundle.absolute()) if config.ca_bundle else None,
        "warm": config.warm,
        "ca_digest": None if bundle is None else hashlib.sha256(bundle).hexdigest(),
        "contact_timeout": config.contact_timeout,
        "storage": " ".join(filter(None, (config.storage, config.storage_endpoint, config.storage_region)))
        if config.storage
        else None,
        "flytebuild": importlib.metadata.version("flytebuild"),
        "flyte": importlib.metadata.version("flyte"),
        "python": _python(),
    }


def differences(there: object, wanted: Mapping[str, object]) -> dict[str, str]:
    """In which keys two fingerprints differ, each with words that say how; the older is `there`."""
    if not isinstance(there, dict):
        return {"flytebuild": "an older flytebuild"}
    found = {key: _difference(key, there.get(key), wanted[key]) for key in wanted if there.get(key) != wanted[key]}
    if "ca_bundle" in found:
        # Another file has other content: once is enough.
        found.pop("ca_digest", None)
    return found


def read_bundle(path: Path | None) -> bytes | None:
    """The certificates that a configuration names. Raises ControlPlaneError where they cannot be read."""
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ControlPlaneError(
            f"The certificates in `{path}` cannot be read: {error.strerror}",
            hint="`ca_bundle` in the configuration, or `SSL_CERT_FILE`, names that file",
        ) from error


def _python() -> str:
    """This environment and its interpreter, by the places that they really are: both may have several names."""
    return f"{os.path.realpath(sys.prefix)} ({os.path.realpath(sys.executable)})"


def _difference(key: str, there: object, wanted: object) -> str:
    if key == "ca_digest":
        return "a CA bundle that has changed since"
    return f"{_TITLES[key]} {_words(there)} instead of {_words(wanted)}"


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}={target}" for name, target in value.items())
    return f"`{value}`" if value else "(none)"


def _without_password(address: str) -> str:
    return _PASSWORD.sub(r"\1\2@", address)
