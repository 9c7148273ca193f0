"""Values that several tests start from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Binary, PipOptions, PipPackages
from flytebuild.spec.model import ImageDefinition, ImageSpec, Part, Placed
from flytebuild.spec.prefix import PIXI_IMAGE, UV_IMAGE
from flytebuild.spec.specify import specify
from flytebuild.spec.tree import Entry, Tree, assemble

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
BASE = ResolvedImage(
    reference="ghcr.io/flyteorg/flyte:py3.11-v2.12.1",
    location="mirror.example/flyteorg/flyte:py3.11-v2.12.1",
    digest="sha256:" + "1" * 64,
    config=RuntimeConfig(env=(("PATH", "/opt/venv/bin:/usr/bin"),), user="flyte", workdir="/home/flyte"),
)
UV = ResolvedImage(
    reference=UV_IMAGE,
    location="mirror.example/astral-sh/uv:0.13.4",
    digest="sha256:" + "2" * 64,
)
PIXI = ResolvedImage(
    reference=PIXI_IMAGE,
    location="mirror.example/prefix-dev/pixi:0.72.2",
    digest="sha256:" + "4" * 64,
)


def definition(*parts: Part, name: str = "flyte", registry: str | None = None, python: str = "3.11") -> ImageDefinition:
    """An image on the sample base."""
    placed = tuple(Placed(part, f"main.py:{number}") for number, part in enumerate(parts, 1))
    return ImageDefinition(BASE.reference, name, registry, python, (AMD64, ARM64), placed)


def file_entry(path: str, digest: str, size: int, *, executable: bool = False) -> Entry:
    """A file by its content's digest."""
    return Entry(path, "executable" if executable else "file", digest, size)


def file_tree(name: str, digest: str, size: int) -> Tree:
    """A single file as a tree."""
    return assemble([file_entry(name, digest, size)])


def pip(*requirements: str, **options: object) -> PipPackages:
    """One pip layer."""
    return PipPackages(requirements, PipOptions(**options))  # type: ignore[arg-type]


def images(
    base: ResolvedImage = BASE, uv: ResolvedImage = UV, pixi: ResolvedImage = PIXI
) -> Mapping[str, ResolvedImage]:
    """What the sample definitions need of the outside."""
    return {BASE.reference: base, UV_IMAGE: uv, PIXI_IMAGE: pixi}


def made_of(
    *parts: Part, base: ResolvedImage = BASE, uv: ResolvedImage = UV, platform: Platform = AMD64, **fields: str
) -> ImageSpec:
    """The spec of a sample image with these parts."""
    return specify(definition(*parts, **fields), platform, images(base, uv))


def put_on_top(spec: ImageSpec) -> ImageSpec:
    """The same image on a base that has the virtual environment: nothing is made on top of that."""
    uv, _, *rest = spec.steps
    assert isinstance(uv.layer, Binary)
    return replace(spec, steps=(replace(uv, layer=replace(uv.layer, is_apart=True)), *rest))


def spec(*packages: str, base: ResolvedImage = BASE, uv: ResolvedImage = UV, **fields: str) -> ImageSpec:
    """An image with one pip layer per package."""
    return made_of(*(pip(name) for name in packages), base=base, uv=uv, **fields)


@dataclass(frozen=True)
class Seen:
    """What builds before took: seconds by names, bytes by names or digests, and what a registry's cache has."""

    times: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    cached: Collection[tuple[str, str]] = ()
    has_cache: bool = False

    def seconds(self, name: str, /) -> float | None:
        return self.times.get(name)

    def size(self, digest: str, name: str, /) -> int | None:
        return self.sizes.get(digest, self.sizes.get(name))

    def is_cached(self, registry: str, digest: str, /) -> bool:
        return (registry, digest) in self.cached
