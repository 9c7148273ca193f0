"""Whole images by a Dockerfile."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from flytebuild.spec.canonical import Document, Value
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.tree import Tree


class Dockerfile(Struct, frozen=True):
    """A whole image by the user's own Dockerfile, which is all that `file` holds, and the build context `tree`.

    `images` are those that the Dockerfile names, each under the name it is called by there. `syntax` is what its
    `# syntax=` line says, `frontend` the image that reads it therefore; without one the builder's own frontend does,
    and `stand_in` says why where another was asked for.
    """

    file: Tree
    tree: Tree
    images: tuple[ResolvedImage, ...] = ()
    syntax: str = ""
    frontend: ResolvedImage | None = None
    stand_in: str = ""
    kind: ClassVar[str] = "dockerfile"

    @property
    def name(self) -> str:
        """What the Dockerfile is called."""
        return self.file.entries[0].path

    @property
    def summary(self) -> str:
        if self.stand_in:
            return f"Dockerfile {self.name} by the builder's own frontend ({self.stand_in})"
        return f"Dockerfile {self.name}" + (f" by {self.frontend.reference}" if self.frontend else "")

    def fields(self) -> Document:
        found = {image.reference: image.identity() for image in self.images}
        fields: dict[str, Value] = {"file": self.file.entries[0].digest, "images": found, "tree": self.tree.digest}
        return fields | ({"frontend": self.frontend.identity()} if self.frontend else {})
