"""Files of layers where uv can read them as it does in a build, and what requirements files say of indexes."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from blake3 import blake3

from flytebuild.errors import SourceChangedError
from flytebuild.spec.model import HostFolder
from flytebuild.spec.normalise import is_requirement
from flytebuild.spec.tree import Tree
from flytebuild.wheels.arguments import NotLockableError

_INCLUDES = ("-r", "--requirement", "-c", "--constraint")
_INDEXES = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links")
_HARMLESS = ("--pre", "--prefer-binary", "--require-hashes")


def stage(tree: Tree, roots: Mapping[str, HostFolder], folder: Path) -> None:
    """Copy the files of a layer's tree below `folder`. Raises SourceChangedError."""
    place = roots[tree.digest]
    for entry in tree.entries:
        target = folder / entry.path
        if entry.is_file:
            source = Path(place.moved.get(entry.path, f"{place.root}/{entry.path}"))
            content = source.read_bytes()
            if blake3(content).hexdigest() != entry.digest:
                raise SourceChangedError(str(source))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def indexes(file: Path) -> list[str]:
    """The options about indexes in a requirements file and those that it includes, word by word.

    Raises NotLockableError for what is no version of an index, and for options that decide more.
    """
    return list(_words(file, set()))


def _words(file: Path, seen: set[Path]) -> Iterator[str]:
    if file in seen:
        return
    seen.add(file)
    for line in _lines(file.read_text(encoding="utf-8")):
        if "${" in line:
            raise NotLockableError(f"`{line}` depends on a variable")
        if not line.startswith("-"):
            text = re.split(r"\s+--", line, maxsplit=1)[0].strip()
            if not is_requirement(text) or "@" in text.partition(";")[0]:
                raise NotLockableError(f"`{text}` is not a version of an index")
            continue
        name, *rest = shlex.split(re.sub(r"^(-[a-z])(?=[^\s-])|^(--[a-z-]+)=", r"\1\2 ", line))
        if name in _INCLUDES and rest:
            yield from _words(Path(posixpath.normpath(file.parent / rest[0])), seen)
        elif name in _INDEXES and rest:
            yield from (name, rest[0])
        elif name not in _HARMLESS:
            raise NotLockableError(f"what `{name}` does is known only while the image is built")


def _lines(text: str) -> Iterator[str]:
    """Logical lines, without comments."""
    joined = re.sub(r"\\\r?\n", " ", text.removeprefix("\ufeff"))
    for line in joined.splitlines():
        code = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if code:
            yield code
