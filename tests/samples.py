"""Values that several tests start from."""

from flytebuild.spec.model import (
    ImageDefinition,
    ImageSpec,
    PipPackages,
    Platform,
    ResolvedImage,
    RuntimeConfig,
)
from flytebuild.spec.specify import specify

AMD64 = Platform("linux", "amd64")
BASE = ResolvedImage(
    reference="ghcr.io/flyteorg/flyte:py3.11-v2.12.1",
    location="mirror.example/flyteorg/flyte:py3.11-v2.12.1",
    digest="sha256:" + "1" * 64,
    config=RuntimeConfig(env=(("PATH", "/opt/venv/bin:/usr/bin"),), user="flyte", workdir="/home/flyte"),
)
UV = ResolvedImage(
    reference="ghcr.io/astral-sh/uv:0.13.4",
    location="mirror.example/astral-sh/uv:0.13.4",
    digest="sha256:" + "2" * 64,
)


def definition(*layers: PipPackages, name: str = "flyte", registry: str | None = None) -> ImageDefinition:
    """An image on the sample base."""
    return ImageDefinition(BASE.reference, name, registry, "3.11", (AMD64,), layers)


def spec(*packages: str, base: ResolvedImage = BASE, uv: ResolvedImage = UV, **fields: str) -> ImageSpec:
    """An image with one pip layer per package."""
    return specify(definition(*(PipPackages((name,)) for name in packages), **fields), AMD64, base, uv)
