"""The configuration file that points Flyte's SDK at the control plane."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from flytebuild.errors import OutputError, UsageError

MARKER = (
    "# Written by flytebuild: it points Flyte's SDK at the local control plane. Remove this line to keep your edits."
)
"""First line of the files that we write, and may therefore write again."""

ORG, PROJECT, DOMAIN = "local", "flytebuild", "development"
BUILDER = "flytebuild"


def check(path: Path) -> None:
    """Raise now what `write` would raise later, as far as that can be told without writing."""
    folder = path.parent
    with _told(path, hint="`flytebuild up --no-config` writes no file"):
        if not os.path.lexists(folder):
            folder = folder.parent
        elif not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"`{folder}` is not a folder")
        _refuse_foreign(path)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"nothing can be made in `{folder.absolute()}`")


def write(endpoint: str, path: Path) -> None:
    """Write a file that names the control plane at `endpoint`, whole or not at all, and nothing if it is there already.

    Raises UsageError where there is a file that we did not write, OutputError where the system refuses.
    """
    content = (
        f"{MARKER}\n"
        f"admin:\n  endpoint: {address(endpoint)}\n  insecure: true\n"
        f"image:\n  builder: {BUILDER}\n"
        f"task:\n  org: {ORG}\n  project: {PROJECT}\n  domain: {DOMAIN}\n"
    )
    with _told(path):
        if _refuse_foreign(path) == content:
            return
        # A folder that we make is kept out of version control; one that is there already has its rules.
        is_ours = not path.parent.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_ours:
            (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(content, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def address(endpoint: str) -> str:
    """The form of an address that Flyte's configuration uses."""
    return "dns:///" + endpoint.removeprefix("http://")


def _refuse_foreign(path: Path) -> str | None:
    """The text of the file that is there, which is one of ours."""
    try:
        present = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if not present.startswith(MARKER):
        raise UsageError(
            f"`{path}` exists and was not written by flytebuild",
            hint="move it away, or keep it and use `flytebuild run`, which needs no file",
        )
    return present


@contextlib.contextmanager
def _told(path: Path, hint: str | None = None) -> Iterator[None]:
    """The system's refusals, as errors for the user to read."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror or error}", hint=hint) from error
