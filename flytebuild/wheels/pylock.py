"""Reading the wheels of one version from a lock by the packaging standards (PEP 751, `pylock.toml`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from flytebuild.spec.layers import Pin
from flytebuild.wheels.arguments import NotLockableError

Choose = Callable[[Sequence[str]], "str | None"]
"""Chooses the wheel that is installed from the names of several."""


def pin(package: Mapping[str, Any], choose: Choose) -> Pin:
    """The wheel of one entry of `packages`, with the URL that the index gives, which may have credentials.

    Raises NotLockableError where none fits, or no hash is known.
    """
    name, version = canonicalize_name(package["name"]), str(package.get("version", ""))
    wheels = {_filename(wheel): wheel for wheel in package.get("wheels", ())}
    chosen = choose(list(wheels))
    if chosen is None:
        raise NotLockableError(f"`{name}` {version} has no wheel on an index for this Python and platform")
    wheel = wheels[chosen]
    sha256 = wheel.get("hashes", {}).get("sha256")
    if not sha256:
        raise NotLockableError(f"its index gives no SHA-256 of `{chosen}`")
    return Pin(name, version, chosen, sha256, str(wheel.get("url", "")), wheel.get("size"))


def without_credentials(url: str) -> str:
    """A URL without its user and password, and without a query: some indexes sign in one."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url).partition("?")[0].partition("#")[0]


def _filename(wheel: Mapping[str, Any]) -> str:
    place = str(wheel.get("name") or urlsplit(str(wheel.get("url") or wheel.get("path"))).path)
    return unquote(place.rpartition("/")[2])
