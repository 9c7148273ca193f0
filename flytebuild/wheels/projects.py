"""Projects with a `uv.lock`: which options choose among what it has, and what keeps a project from being locked. Pure.

uv itself says what it has chosen (`flytebuild.wheels.exported`). Options and settings that do more than choose, or more
than decide the lock, are an obstacle.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from flytebuild.spec.layers import PipOptions, UvProject
from flytebuild.wheels import arguments
from flytebuild.wheels.arguments import NotLockableError
from flytebuild.wheels.pylock import without_credentials

_WITH_NAME = ("--extra", "--no-extra", "--group", "--no-group", "--only-group")
_CHOOSING = ("--all-extras", "--all-groups", "--dev", "--no-default-groups", "--no-dev", "--only-dev")
_GIVEN = ("--active", "--inexact", "--locked", "--no-editable", "--no-install-project")
"""Options that `uv sync` is given anyway."""

_IRRELEVANT = ("--quiet", "-q", "--verbose", "-v", "--no-cache", "-n", "--no-progress")
"""Options that move no version and no file."""

_DECIDING_THE_LOCK = frozenset(
    (
        *("build-constraint-dependencies", "build-backend", "conflicts", "constraint-dependencies", "default-groups"),
        *("dependency-groups", "dependency-metadata", "dev-dependencies", "environments", "exclude-dependencies"),
        *("exclude-newer", "exclude-newer-package", "extra-index-url", "fork-strategy", "index", "index-strategy"),
        *("index-url", "override-dependencies", "package", "prerelease", "required-environments", "resolution"),
        "sources",
    )
)
"""Settings of a project (`tool.uv`) that count when it is locked, or choose among what is locked, as uv does itself.
https://docs.astral.sh/uv/reference/settings/"""


def obstacle(layer: UvProject) -> str:
    """Why a project cannot be locked, as far as the layer itself says it: half a sentence, or nothing."""
    if not layer.locked:
        return "it has no `uv.lock`, which `uv lock` makes"
    if layer.mode != "dependencies_only":
        return "it installs the project itself, which is no wheel of an index"
    if layer.packages:
        return f"`{layer.packages[0].path}` is a folder of packages"
    if layer.options.secrets:
        return "it is given a secret"
    if layer.options != PipOptions(extra_args=layer.options.extra_args):
        return "its `uv.lock` says which versions it has, and where from, and its options do as well"
    try:
        choice(layer)
    except NotLockableError as error:
        return str(error)
    return ""


def choice(layer: UvProject) -> tuple[str, ...]:
    """The options of `uv export` that choose what the layer installs. Raises NotLockableError."""
    waiting, chosen, mode = arguments.split(layer.options.extra_args), list[str](), "--locked"
    while waiting:
        written, equals, value = waiting.pop(0).partition("=")
        if written == "--frozen":
            mode = written
        elif written in _WITH_NAME and (equals or waiting):
            chosen += [written, value if equals else waiting.pop(0)]
        elif written in _CHOOSING and not equals:
            chosen += [written]
        elif written not in (*_GIVEN, *_IRRELEVANT) or equals:
            raise NotLockableError(f"what `{written}` does is known only while the image is built")
    return (mode, *chosen)


def check_settings(manifest: Mapping[str, Any], python: str) -> None:
    """Raise NotLockableError for a project that is not for this Python, or whose settings do more than decide its lock.

    A version that cannot be read is uv's to complain about.
    """
    wanted = str(manifest.get("project", {}).get("requires-python", ""))
    with suppress(InvalidSpecifier):
        if not SpecifierSet(wanted).contains(python, prereleases=True):
            raise NotLockableError(f"it wants Python {wanted}, and this image has {python}")
    settings = manifest.get("tool", {}).get("uv", {})
    if unknown := sorted(settings.keys() - _DECIDING_THE_LOCK):
        raise NotLockableError(f"what its setting `{unknown[0]}` does is known only while the image is built")
    if flat := [index["url"] for index in settings.get("index", ()) if index.get("format") == "flat"]:
        raise NotLockableError(f"`{without_credentials(flat[0])}` is no index but a list of files")
