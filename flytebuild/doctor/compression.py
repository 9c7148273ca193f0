"""Whether the engine that runs containers can unpack the layers that builds push."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flytebuild.config import Config
from flytebuild.doctor.check import Check, ok, unknown, warning

_ZSTD_SINCE = 23
"""The first Docker Engine that unpacks zstd (https://docs.docker.com/engine/release-notes/23.0/)."""


def examine_compression(config: Config, version: Mapping[str, Any]) -> Check:
    """Judge by the engine's answer to `/version`, in which other engines that speak its API have other components."""
    said = f"layers are packed with `{config.compression}`"
    components = {item.get("Name"): str(item.get("Version")) for item in version.get("Components") or ()}
    major = re.match(r"\d+", components.get("Engine", ""))
    if config.compression != "zstd":
        return ok("compression", said)
    if not major:
        return unknown("compression", f"{said}, and this engine does not say whether it unpacks them")
    if int(major[0]) >= _ZSTD_SINCE:
        return ok("compression", f"{said}, which this engine unpacks")
    hint = 'set `compression = "gzip"`, or update the engine'
    return warning("compression", f"{said}, which Docker {components['Engine']} cannot unpack to run them", hint)
