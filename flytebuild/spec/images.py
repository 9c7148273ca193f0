"""What is known of images: platforms, the configuration that reaches a container, what a reference came to."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import force_setattr

from flytebuild.noted import Noted
from flytebuild.spec.canonical import Document, Value

OUR_LABELS = "dev.flytebuild."
"""How the labels begin in which an image says what it is; none of them is part of what it is."""


class Platform(Struct, frozen=True):
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


class RuntimeConfig(Struct, frozen=True):
    """The part of an OCI image config that reaches a container.

    `env` and `labels` are kept sorted by name, whatever order they are given in: no process sees their order, so none
    may reach a digest. `shell` is what runs the text of a command, `/bin/sh -c` where it is empty. `other` is the JSON
    text of the config's remaining keys (`StopSignal`, `Volumes` …), which we pass through.
    """

    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    shell: tuple[str, ...] = ()
    other: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "env", tuple(sorted(dict(self.env).items())))
        force_setattr(self, "labels", tuple(sorted(dict(self.labels).items())))

    def seen(self) -> Document:
        """The canonical document of what a step sees that executes something."""
        return {"cwd": self.workdir, "env": dict(self.env), "user": self.user or "root"}

    def document(self) -> Document:
        """The canonical document that the config's digest is taken of."""
        document: dict[str, Value] = {"env": dict(self.env), "workdir": self.workdir}
        if self.user:
            document["user"] = self.user
        if self.entrypoint:
            document["entrypoint"] = list(self.entrypoint)
        if self.cmd:
            document["cmd"] = list(self.cmd)
        if self.labels:
            document["labels"] = dict(self.labels)
        if self.shell:
            document["shell"] = list(self.shell)
        if self.other:
            document["other"] = self.other
        return document


class ResolvedImage(Noted, frozen=True):
    """An image in a registry as it was found for one platform.

    `reference` is what the user wrote, `location` where it is fetched from (a mirror, perhaps), `digest` the
    manifest's. Without a digest the image could not be looked at, and `problem` says why. That is certain, and no
    failure of the moment, where the image is there but for other platforms (`is_for_others`), and where the registry
    says that there is none (`is_missing`). `on_build` are instructions of a Dockerfile that images made from this one
    are to begin with. `size` are the bytes of its layers as they are fetched; None where the manifest does not say.
    """

    reference: str
    location: str
    digest: str | None = None
    config: RuntimeConfig = RuntimeConfig()
    problem: str = ""
    is_for_others: bool = False
    is_missing: bool = False
    on_build: tuple[str, ...] = ()
    size: int | None = None

    NOTES = ("size",)

    @property
    def is_resolved(self) -> bool:
        return self.digest is not None

    def identity(self) -> Document:
        """The image by its digest; by its name while that is unknown, which no resolved image equals."""
        return {"image": self.digest} if self.digest else {"unresolved": self.reference}
