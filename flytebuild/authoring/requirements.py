"""Requirements files: everything that they refer to, so that all of it is in the digest and in the build.

uv installs them, so its reading of the format counts: an included file and a `--find-links` folder are relative to the
file that names them, a package's path is relative to where uv runs, which is the first file's folder.
https://docs.astral.sh/uv/pip/compatibility/
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.authoring import credentials
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.listings import listing
from flytebuild.authoring.site import Site
from flytebuild.spec.layers import Listed
from flytebuild.spec.normalise import is_archive, is_requirement
from flytebuild.spec.tree import Entry, Tree

_LONG = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-f": "--find-links", "-i": "--index-url"}
_OPTION = re.compile(
    r"(-[rcefi]|--(?:requirement|constraint|editable|find-links|index-url|extra-index-url))(?:(=|\s+)(.*)|[^=\s].*|)"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*\s*(?:\[[^]]*\])?\s*@\s*(.*)")
_ROOT = "${PROJECT_ROOT}"
"""What uv replaces by the folder that it runs in."""

_EXPANDED = re.compile(r"\$\{[A-Z0-9_]+\}")
"""What uv replaces by a variable of the environment that it runs in."""

_FOLDER = "_"
"""What a folder is called whose name nothing refers to, since the host's name for it must not matter."""

_FILE = "requirements.txt"
"""What the first file is called, unless something refers to it by its name."""


class _Line(Struct, frozen=True):
    """A logical line of a file, for reading and for errors."""

    file: Path
    number: int
    text: str

    @property
    def requirement(self) -> str:
        """A requirement without its hashes and other options."""
        return re.split(r"\s+--", self.text, maxsplit=1)[0]

    def __str__(self) -> str:
        return f"`{self.text}` in `{self.file}`, line {self.number},"


class _Found(Struct):
    """What was collected so far: files by absolute path, the trees of local folders, and what is entered by name."""

    start: Path
    files: dict[Path, None] = field(default_factory=dict)
    folders: dict[Path, Tree] = field(default_factory=dict)
    named: set[Path] = field(default_factory=set)
    listed: list[tuple[Path, _Line]] = field(default_factory=list)


def read(file: Path, files: HostFiles, site: Site) -> tuple[Tree, str, tuple[Listed, ...]]:
    """The tree of a requirements file and all that it includes, the file's own path in it, and what they list.

    Raises UnsupportedImageError for what is missing, malformed, at an absolute path or editable, or holds credentials.
    """
    first = _absolute(file)
    found = _Found(first.parent)
    _read(first, file, files, site, found)
    layout = _Layout.of(found)
    places = {layout.path(path): path for path in found.files}
    entries: list[Entry] = list(files.files(places, site).entries)
    for folder, tree in found.folders.items():
        prefix = layout.path(folder)
        for entry in tree.entries:
            moved = replace(entry, path=f"{prefix}/{entry.path}" if prefix else entry.path)
            entries.append(moved)
            places[moved.path] = folder / entry.path
    # What a folder holds may be a file that is included by name as well.
    unique = {entry.path: entry for entry in entries}
    listed = (listing(line.requirement, line.file, line.number, layout.path(path)) for path, line in found.listed)
    return files.combined(unique.values(), places), layout.path(first), tuple(listed)


class _Layout(Struct, frozen=True):
    """Where things of the host lie in the tree: relative to each other as they do on the host, below `root`.

    A folder above the first file that no reference enters by its name gets a name of ours, in `names`: what a checkout
    is called, or a folder in it, decides nothing of what is installed; nor does what the first file is called.
    """

    root: Path
    names: Mapping[Path, str]

    @classmethod
    def of(cls, found: _Found) -> _Layout:
        root = Path(os.path.commonpath([found.start, *(path.parent for path in found.files), *found.folders]))
        names: dict[Path, str] = {}
        for folder in (found.start, *found.start.parents):
            if folder == root:
                break
            # Within a package, another folder more may be taken for a part of it.
            if folder not in found.named and found.folders.keys().isdisjoint(folder.parents):
                name = _FOLDER
                while folder.parent / name in found.named:
                    name += _FOLDER
                names[folder] = name
        first = next(iter(found.files))
        is_free = found.named.isdisjoint({first, found.start / _FILE})
        if is_free and found.folders.keys().isdisjoint(first.parents):
            names[first] = _FILE
        return cls(root, names)

    def path(self, place: Path) -> str:
        """The path in the tree of what lies at an absolute path below `root`; empty for `root` itself."""
        depth = len(self.root.parts)
        above = [*reversed(place.parents), place][depth:]
        return "/".join(self.names.get(folder, folder.name) for folder in above)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _read(file: Path, shown: Path, files: HostFiles, site: Site, found: _Found) -> None:
    """Collect a file and what it refers to; `shown` is what errors call it."""
    if file in found.files:
        return
    text = files.text(shown, site)
    found.files[file] = None
    credentials.refuse(text, shown, site)
    for number, logical in _lines(text):
        line = _Line(shown, number, logical)
        option, value = _option(line, site)
        if option == "--editable":
            raise site.error(
                f"{line} is an editable install, which would point to a folder that the image does not have",
                hint="leave out `-e`, or use `with_uv_project`",
            )
        if not option and not line.text.startswith("-"):
            found.listed.append((file, line))
        target = local_path(value) if option else _package(line, site)
        if not target:
            continue
        # uv reads a package's path from where it runs, and an index's; other paths from the file that names them.
        is_beside = option in ("--requirement", "--constraint", "--find-links") and not target.startswith(_ROOT)
        path = _resolve(target, file.parent if is_beside else found.start, line, site, found)
        if option in ("--requirement", "--constraint"):
            if not path.exists():
                raise site.error(
                    f"{line} refers to `{path}`, which does not exist",
                    hint="a path here is relative to the file it is in",
                )
            _read(path, shown.parent / os.path.relpath(path, file.parent), files, site, found)
        else:
            _take(path, option, line, files, site, found)


def _take(path: Path, option: str, line: _Line, files: HostFiles, site: Site, found: _Found) -> None:
    """Collect a package, or a place to find packages in."""
    if path.is_file():
        found.files[path] = None
    elif not path.is_dir():
        hint = "a path here is relative to the file it is in, one of a package to the first file"
        raise site.error(f"{line} refers to `{path}`, which does not exist", hint=hint)
    elif option == "--find-links":
        archives = sorted(item for item in path.iterdir() if is_archive(item.name) and item.is_file())
        if not archives:
            raise site.error(f"{line} refers to `{path}`, which has no packages", hint="build the wheels first")
        found.files.update(dict.fromkeys(archives))
    elif path not in found.folders:
        found.folders[path] = files.folder(path, site, filtered=False) if option else files.project(path, site)


def _resolve(target: str, folder: Path, line: _Line, site: Site, found: _Found) -> Path:
    """The place of a relative path; the folders that it enters by name are noted."""
    if target.startswith(("/", "~")):
        raise site.error(
            f"{line} names an absolute path, which is another one on every machine",
            hint="write it relative to the requirements file",
        )
    place = folder
    for part in target.removeprefix(_ROOT).split("/"):
        if part == "..":
            place = place.parent
        elif part not in ("", "."):
            place = place / part
            found.named.add(place)
    return place


def _option(line: _Line, site: Site) -> tuple[str, str]:
    """The long name of an option that refers to something, and its value; empty for other lines."""
    match = _OPTION.fullmatch(line.text)
    if not match:
        return "", ""
    name = match[1]
    value = re.sub(r"#.*", "", match[3] or "").strip()
    if not value:
        raise site.error(f"{line} is not understood by uv", hint=f"write `{name} PATH`, with a blank between them")
    return _LONG.get(name, name), _unquoted(value)


def _package(line: _Line, site: Site) -> str:
    """The path of a package that a requirement takes from this machine, or nothing."""
    text = line.requirement
    if text.startswith("-"):
        return ""
    named = _NAMED.fullmatch(text)
    bare = re.split(r"\s+[;#]|[;#](?=\s)", named[1] if named else text, maxsplit=1)[0].strip()
    if not named:
        bare = re.sub(r"\s*\[[^][]*\]$", "", bare)
    if named or "/" in bare.partition(";")[0] or _SCHEME.match(bare) or bare.startswith(".") or is_archive(bare):
        return local_path(bare)
    if not is_requirement(text):
        raise site.error(
            f"{line} is not a requirement", hint="write it like `name`, `name==1.2`, `name[extra]>=1` or `name @ URL`"
        )
    return ""


def local_path(text: str) -> str:
    """The path that a URL or a path names; nothing for what is elsewhere, or only known where uv runs."""
    scheme = _SCHEME.match(text)
    if scheme and scheme[0].lower() != "file:":
        return ""
    path = text.partition("#")[0]
    if scheme:
        path = unquote(re.sub(r"^(?://localhost(?=/)|//)", "", path[len("file:") :]))
    return "" if _EXPANDED.search(path.removeprefix(_ROOT)) else path


def _unquoted(value: str) -> str:
    """An option's value as a shell reads it, except that blanks stay."""
    words = shlex.shlex(value, posix=True, punctuation_chars=False)
    words.whitespace, words.commenters, words.whitespace_split = "", "", True
    try:
        return words.get_token() or ""
    except ValueError:
        return value


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first: comments dropped, continued lines joined.

    As uv reads it, and unlike pip, a comment ends its line even where a backslash follows, or comes before.
    """
    pending, start = "", 0
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        start = start if pending else number
        code = re.split(r"(?:^|(?<=\s))#", line, maxsplit=1)[0]
        pending += code
        if pending.endswith("\\") and code == line:
            pending = pending[:-1]
            continue
        if pending.strip():
            yield start, pending.strip()
        pending = ""
    if pending.strip():
        yield start, pending.strip()
