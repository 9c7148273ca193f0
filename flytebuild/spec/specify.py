"""From what the user asked for, and what its bases turned out to be, to the exact image.

The order of things is that of Flyte's own builder: the `uv` binary, its environment variables, a virtual environment,
the user's layers, all of them run as root. Two deliberate differences: the image keeps its base's user, and the
base's own `LD_LIBRARY_PATH` is appended to instead of lost.
"""

from __future__ import annotations

from dataclasses import replace

from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.model import (
    ImageDefinition,
    ImageSpec,
    LayerSpec,
    Platform,
    ResolvedImage,
    RuntimeConfig,
    Step,
    Uv,
    Venv,
)

UV_IMAGE = "ghcr.io/astral-sh/uv:0.13.4"
"""Where the `uv` binary comes from; the version that flyte 2.12's own builder uses."""

VENV = "/opt/venv"
NVIDIA_PATH = "/usr/local/nvidia/bin:/usr/local/cuda/bin"
NVIDIA_LIBRARIES = "/usr/local/nvidia/lib64"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def specify(definition: ImageDefinition, platform: Platform, base: ResolvedImage, uv: ResolvedImage) -> ImageSpec:
    """Pin a definition for one platform.

    Raises UnsupportedImageError when the definition is not meant for that platform.
    """
    if platform not in definition.platforms:
        wanted = ", ".join(f"`{item}`" for item in definition.platforms)
        raise UnsupportedImageError(
            f"Image `{definition.name}` is for {wanted}, and this machine's engine runs `{platform}`",
            hint=f"add `{platform}` to the image's `platform`, or use an engine of that platform",
        )
    environment = _environment(base.config)
    context = RuntimeConfig(env=environment, user="root", workdir=base.config.workdir)
    layers: tuple[LayerSpec, ...] = (Uv(uv), Venv(definition.python, VENV), *definition.layers)
    return ImageSpec(
        name=definition.name,
        registry=definition.registry,
        platform=platform,
        base=base,
        steps=tuple(Step(layer, context) for layer in layers),
        config=replace(base.config, env=environment),
    )


def _environment(config: RuntimeConfig) -> tuple[tuple[str, str], ...]:
    base = dict(config.env)
    libraries = base.get("LD_LIBRARY_PATH", "")
    return config.with_env(
        ("UV_COMPILE_BYTECODE", "1"),
        ("UV_LINK_MODE", "copy"),
        ("VIRTUALENV", VENV),
        ("UV_PYTHON", f"{VENV}/bin/python"),
        ("PATH", f"{VENV}/bin:{base.get('PATH', DEFAULT_PATH)}:{NVIDIA_PATH}"),
        ("LD_LIBRARY_PATH", f"{libraries}:{NVIDIA_LIBRARIES}" if libraries else NVIDIA_LIBRARIES),
    )
