"""A wheel that is decided."""

from __future__ import annotations

from flytebuild.noted import Noted
from flytebuild.spec.canonical import Document


class Pin(Noted, frozen=True):
    """One wheel: `name` is in normal form (PEP 503), `sha256` 64 hex digits, `size` in bytes where it is known.

    `url` is where the wheel was found, without credentials; a mirror has the same wheel elsewhere. `modules` are those
    that it brings, `yaml` or, in a namespace, `google.protobuf`; None where that is not known.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str = ""
    size: int | None = None
    modules: tuple[str, ...] | None = None

    NOTES = ("url", "size", "modules")

    def document(self) -> Document:
        return {"filename": self.filename, "name": self.name, "sha256": self.sha256, "version": self.version}
