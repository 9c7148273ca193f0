"""Requirements files: everything that they refer to, so that all of it is in the digest and in the build."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.site import Site
from flytebuild.spec.tree import Entry, Tree

_OPTION = re.compile(r"^(-r|--requirement|-c|--constraint|-f|--find-links|-e|--editable)(?:[ =]\s*|(?=[^-\s]))(.*)$")
_REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LOCAL = re.compile(r"^(?:\.{1,2}(?:/|$)|/|file:)|^[^@<>=!~;\s]+\.(?:whl|tar\.gz|zip)(?:$|[\s;])")
_NAMED_LOCAL = re.compile(r"^[A-Za-z0-9._-]+(?:\[[^]]*\])?\s*@\s*(file:\S+|\.{1,2}/\S*|/\S*)")
CREDENTIALS = re.compile(r"(?<!ssh)://(?!\$\{\w+\}(?::\$\{\w+\})?@)[^/\s@]+@")
"""A URL with a user or password in it; `${NAME}` is neither, and the user name of an ssh URL is no secret."""

CREDENTIALS_HINT = (
    "set `UV_INDEX_URL` with the credentials in the environment that builds, or write `${NAME}` in the URL and pass "
    "the secret with `secret_mounts`; neither enters a layer"
)


@dataclass
class _Found:
    """What was collected so far: files by absolute path, and the trees of local folders.

    `start` is the first file's folder: uv runs there, so that is what paths of packages are relative to, while
    included files are relative to the file that includes them.
    """

    start: Path
    files: dict[Path, None] = field(default_factory=dict)
    folders: dict[Path, Tree] = field(default_factory=dict)


def read(file: Path, files: HostFiles, site: Site) -> tuple[Tree, str]:
    """The tree of a requirements file and all that it includes, and the file's own path in it.

    Raises UnsupportedImageError for what is missing, lies at an absolute path, is editable, or holds credentials.
    """
    found = _Found(_absolute(file).parent)
    _read(file, files, site, found)
    paths = [*found.files, *found.folders]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    single = {str(path.relative_to(root)): path for path in found.files}
    entries: list[Entry] = list(files.files(single, site).entries)
    places = dict(single)
    for folder, tree in found.folders.items():
        prefix = str(folder.relative_to(root))
        for entry in tree.entries:
            moved = replace(entry, path=f"{prefix}/{entry.path}")
            entries.append(moved)
            places[moved.path] = folder / entry.path
    # What a folder holds may be a file that is included by name as well.
    unique = {entry.path: entry for entry in entries}
    return files.combined(unique.values(), places), str(_absolute(file).relative_to(root))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _read(file: Path, files: HostFiles, site: Site, found: _Found) -> None:
    absolute = _absolute(file)
    if absolute in found.files:
        return
    text = files.text(file, site)
    found.files[absolute] = None
    for number, line in _lines(text):
        here = f"`{line}` in `{file}`, line {number},"
        if CREDENTIALS.search(line):
            raise site.error(f"line {number} of `{file}` has a URL with credentials", hint=CREDENTIALS_HINT)
        option = _OPTION.match(line)
        target = option[2].strip() if option else _local(line)
        if not target or (_REMOTE.match(target) and not target.startswith("file:")) or "${" in target:
            continue
        if option and option[1] in ("-e", "--editable"):
            raise site.error(
                f"{here} is an editable install, which would point to a folder that the image does not have",
                hint="leave out `-e`, or use `with_uv_project`",
            )
        included = option is not None and option[1] in ("-r", "--requirement", "-c", "--constraint")
        path = _resolve(target, absolute.parent if included else found.start, here, site)
        if included:
            _read(path, files, site, found)
        elif path.is_dir():
            found.folders[path] = files.folder(path, site)
        elif path.is_file():
            found.files[path] = None
        else:
            raise site.error(f"{here} refers to `{path}`, which does not exist")


def _resolve(target: str, folder: Path, here: str, site: Site) -> Path:
    bare = target.split()[0]
    bare = re.split(r"\s*;", bare)[0].removesuffix(",")
    bare = re.sub(r"\[[^]]*\]$", "", bare)
    if bare.startswith(("/", "file:", "~")):
        raise site.error(
            f"{here} names an absolute path, which is another one on every machine",
            hint="write it relative to the requirements file",
        )
    return _absolute(folder / bare)


def _local(line: str) -> str:
    named = _NAMED_LOCAL.match(line)
    if named:
        return named[1]
    return line if _LOCAL.match(line) else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first: comments dropped, continued lines joined."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if pending else number
        if line.lstrip().startswith("#"):
            continue
        if line.endswith("\\"):
            pending += line[:-1]
            continue
        logical = re.sub(r"(^|\s)#.*$", "", pending + line).strip()
        pending = ""
        if logical:
            yield start, logical
    if pending.strip():
        yield start, pending.strip()
