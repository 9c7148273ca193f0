"""The base images that can be made here: what each is called, where it belongs, and which of them a command wants."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

from scripts.machine.debian import architecture, other_architecture
from scripts.machine.report import MachineError

ALL, NEEDED = "all", "needed"

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian's releases by the Python that they have."""

UV_VERSION = "0.13.4"
PIXI_VERSION = "0.72.2"
TWO_ARCHITECTURES = "3.11"
"""The Python whose bases are made for the other architecture as well."""


@dataclass(frozen=True)
class Base:
    """One image: `name` is what `--bases` calls it, `path` and `tag` what `registry` does.

    `is_published`: the public registry has an image of this name that does at least as well. `python`: the Python that
    it is made around.
    """

    name: str
    registry: str
    path: str
    tag: str
    architectures: tuple[str, ...]
    is_published: bool = True
    python: str | None = None

    @property
    def reference(self) -> str:
        return f"{self.registry}/{self.path}:{self.tag}"


def select(text: str, flyte_version: str | None = None) -> tuple[Base, ...]:
    """`all`, `needed` (what Flyte's images start from under this Python), or names with commas between them.

    Bases that are asked for one by one are made for this machine's architecture, with `all` for two.
    """
    if text == ALL:
        return _catalogue(flyte_version, (architecture(), other_architecture()))
    known = {base.name: base for base in _catalogue(flyte_version, (architecture(),))}
    text = f"uv,flyte{_python()}" if text == NEEDED else text
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise MachineError(
                f"No base is called `{name}`",
                hint=f"`{ALL}`, `{NEEDED}`, or some of these: {', '.join(known)}",
                exit_code=64,
            )
    return tuple(known[name] for name in dict.fromkeys(names))


def _catalogue(flyte_version: str | None, architectures: tuple[str, ...]) -> tuple[Base, ...]:
    native, both = (architecture(),), (architecture(), other_architecture())
    flyte_version = flyte_version or _installed_flyte()
    bases = [Base("uv", "ghcr.io", "astral-sh/uv", UV_VERSION, architectures)]
    # That of a Python that no release of Debian has is asked for all the same: a public registry may have it.
    for python in sorted({*SUITES, _python()}):
        two = architectures if python == TWO_ARCHITECTURES else native
        tag = f"py{python}-v{flyte_version}"
        bases.append(Base(f"flyte{python}", "ghcr.io", "flyteorg/flyte", tag, two, python=python))
        tag = f"{UV_VERSION}-python{python}-trixie-slim"
        bases.append(Base(f"uv{python}", "ghcr.io", "astral-sh/uv", tag, two, python=python))
    for python in SUITES:
        two = architectures if python == TWO_ARCHITECTURES else native
        bases.append(
            Base(f"python{python}", "docker.io", "library/python", f"{python}-slim-bookworm", two, python=python)
        )
    return (
        *bases,
        Base("pixi", "ghcr.io", "prefix-dev/pixi", PIXI_VERSION, architectures, is_published=False),
        Base("service", "ghcr.io", "acme/service", "1", native, is_published=False),
        Base("copyonly", "ghcr.io", "acme/copyonly", "1", both, is_published=False),
        Base("foreign", "ghcr.io", "acme/foreign", "1", (other_architecture(),), is_published=False),
    )


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _installed_flyte() -> str:
    try:
        return metadata.version("flyte")
    except metadata.PackageNotFoundError:
        raise MachineError(
            "flyte is not installed for this Python", hint="run `make setup`, or give `--flyte-version`"
        ) from None
