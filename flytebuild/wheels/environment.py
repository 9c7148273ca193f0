"""What is installed below a layer, as far as a resolver looks at it: names, versions, metadata, tags of wheels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from packaging.utils import parse_wheel_filename

from flytebuild.spec.layers import Pin


class Installed(Struct, frozen=True):
    """One distribution; `metadata` is the text of its METADATA, `tags` are those of its wheel (PEP 425).

    `is_direct` where it says that it comes from elsewhere than an index (PEP 610).
    """

    name: str
    version: str
    metadata: str
    tags: tuple[str, ...]
    is_direct: bool = False

    @classmethod
    def of(cls, pin: Pin, metadata: str) -> Installed:
        """What a wheel installs."""
        *_, tags = parse_wheel_filename(pin.filename)
        return cls(pin.name, pin.version, metadata, tuple(sorted(map(str, tags))))


Environment: TypeAlias = Mapping[str, Installed]
"""Distributions by their names in normal form."""


def with_installed(environment: Environment, installed: Iterable[Installed]) -> Environment:
    """An environment after an installation, which replaces what has the same name."""
    return {**environment, **{item.name: item for item in installed}}


def write(environment: Environment, site_packages: Path) -> None:
    """Make an environment up: what installers write of each distribution, and none of its modules."""
    for item in environment.values():
        folder = site_packages / f"{item.name.replace('-', '_')}-{item.version}.dist-info"
        folder.mkdir()
        tags = "".join(f"Tag: {tag}\n" for tag in item.tags)
        (folder / "METADATA").write_text(item.metadata, encoding="utf-8")
        (folder / "WHEEL").write_text(f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n{tags}", encoding="utf-8")
        (folder / "INSTALLER").write_text("uv", encoding="utf-8")
        (folder / "RECORD").touch()
