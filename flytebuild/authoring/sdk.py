"""What the plug-ins need of the SDK, in one place: its types, its configuration, its image builder seam."""

from __future__ import annotations

import os
from collections.abc import Mapping

import flyte.config
from flyte._build import ImageBuild
from flyte._initialize import _get_init_config

BUILDER = "flytebuild"
"""The name under which our image builder is registered with the SDK."""

__all__ = ["BUILDER", "ImageBuild", "configured_endpoint", "set_storage_defaults", "uses_our_builder"]


def uses_our_builder() -> bool:
    """Whether this process builds its images with flytebuild: as initialised, else as configured."""
    initialised = _get_init_config()
    builder = initialised.image_builder if initialised else flyte.config.auto().image.builder
    return builder == BUILDER


def configured_endpoint() -> str | None:
    """The control plane of this process, `host:port`: as initialised, else as configured; None without one."""
    initialised = _get_init_config()
    endpoint = initialised.client.endpoint if initialised and initialised.client else None
    endpoint = endpoint or flyte.config.auto().platform.endpoint
    return endpoint.rpartition("/")[2] if endpoint else None


def set_storage_defaults(variables: Mapping[str, str]) -> None:
    """Let this process read the files of runs: set the SDK's storage variables that are not set yet."""
    for name, value in variables.items():
        if name.startswith(("FLYTE_AWS_", "AWS_")):
            os.environ.setdefault(name, value)
