"""The values that say what an image is.

An `ImageDefinition` is what the user asked for; `flytebuild.spec.specify` pins its bases and turns it into an
`ImageSpec`, whose digests are in `flytebuild.spec.digests`. Digests cover a layer's `fields()`, its kind, the version
of its translation to BuildKit (`EMITTERS`) and everything below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from flytebuild.spec.canonical import Document, Value


@dataclass(frozen=True, slots=True)
class Platform:
    """An OCI platform, `linux/amd64`."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`."""
        os, _, rest = text.partition("/")
        architecture, _, variant = rest.partition("/")
        return cls(os, architecture, variant)


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The part of an OCI image config that reaches a container; `env` keeps its order.

    `other` is the JSON text of the config's remaining keys (`StopSignal`, `Volumes` …), which we pass through.
    """

    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    other: str = ""

    def with_env(self, *pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """The environment after setting `pairs`; a name keeps the position where it was first set."""
        merged = dict(self.env)
        merged.update(pairs)
        return tuple(merged.items())

    def document(self) -> Document:
        """The canonical document that the config's digest is taken of."""
        document: dict[str, Value] = {"env": [list(pair) for pair in self.env], "workdir": self.workdir}
        if self.user:
            document["user"] = self.user
        if self.entrypoint:
            document["entrypoint"] = list(self.entrypoint)
        if self.cmd:
            document["cmd"] = list(self.cmd)
        if self.labels:
            document["labels"] = dict(self.labels)
        if self.other:
            document["other"] = self.other
        return document


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image in a registry as it was found for one platform.

    `reference` is what the user wrote, `location` where it is fetched from (a mirror, perhaps), `digest` the
    manifest's. Without a digest the image could not be looked at, and `problem` says why.
    """

    reference: str
    location: str
    digest: str | None = None
    config: RuntimeConfig = RuntimeConfig()
    problem: str = ""

    @property
    def is_resolved(self) -> bool:
        return self.digest is not None


@dataclass(frozen=True, slots=True)
class Uv:
    """The `uv` binary at `/usr/bin/uv`, taken from uv's own image."""

    image: ResolvedImage
    kind: ClassVar[str] = "uv"

    @property
    def summary(self) -> str:
        return f"uv from {self.image.reference}"

    def fields(self) -> Document:
        return {"image": self.image.digest} if self.image.digest else {"unresolved": self.image.reference}


@dataclass(frozen=True, slots=True)
class Venv:
    """A virtual environment at `path`, made by uv unless the image has one there."""

    python: str
    path: str = "/opt/venv"
    kind: ClassVar[str] = "venv"

    @property
    def summary(self) -> str:
        return f"virtual environment {self.path} with Python {self.python}"

    def fields(self) -> Document:
        return {"path": self.path, "python": self.python}


@dataclass(frozen=True, slots=True)
class PipPackages:
    """Packages that `uv pip install` puts into the virtual environment.

    `requirements` keeps the user's order, which decides what the resolver prefers; `extra_args` is shell text.
    """

    requirements: tuple[str, ...]
    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str = ""
    kind: ClassVar[str] = "pip"

    @property
    def summary(self) -> str:
        return "pip: " + ", ".join(self.requirements)

    def fields(self) -> Document:
        fields: dict[str, Value] = {"requirements": list(self.requirements)}
        if self.index_url:
            fields["index_url"] = self.index_url
        if self.extra_index_urls:
            fields["extra_index_urls"] = list(self.extra_index_urls)
        if self.pre:
            fields["pre"] = True
        if self.extra_args:
            fields["extra_args"] = self.extra_args
        return fields


LayerSpec: TypeAlias = Uv | Venv | PipPackages

EMITTERS = {"uv": 1, "venv": 1, "pip": 1}
"""The version of each kind's translation to LLB: raised when the same fields come to mean other bytes."""


@dataclass(frozen=True, slots=True)
class ImageDefinition:
    """An image as the user defined it, before anything outside was looked at.

    `registry` and `name` say where the user wants it published; neither changes what the image is.
    """

    base: str
    name: str
    registry: str | None
    python: str
    platforms: tuple[Platform, ...]
    layers: tuple[LayerSpec, ...]


@dataclass(frozen=True, slots=True)
class ExternalImage:
    """An image that the user named as it is: nothing to build."""

    reference: str


@dataclass(frozen=True, slots=True)
class Step:
    """One layer spec in its place; `context` is what an executing step sees (environment, folder, user)."""

    layer: LayerSpec
    context: RuntimeConfig


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An image for one platform with everything pinned that could be looked at."""

    name: str
    registry: str | None
    platform: Platform
    base: ResolvedImage
    steps: tuple[Step, ...]
    config: RuntimeConfig

    @property
    def problem(self) -> str:
        """Why this spec is not pinned, or an empty string."""
        images = [self.base, *(step.layer.image for step in self.steps if isinstance(step.layer, Uv))]
        return next((image.problem for image in images if not image.is_resolved), "")
