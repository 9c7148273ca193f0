"""Files of the host that an image takes in: scanned once, hashed, and remembered with where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.authoring.sdk import loaded_modules
from flytebuild.authoring.site import Site
from flytebuild.errors import IgnoreFileError, SourceError
from flytebuild.spec.model import HostFolder
from flytebuild.spec.tree import Entry, Tree, assemble
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.problems import shown
from flytebuild.trees.scan import ScannedTree, scan, scan_file
from flytebuild.trees.statcache import StatCache

STATE = Ignore.parse("**/.flyte\n", "flytebuild")
"""Left out of every folder, those of Dockerfiles included: what `flytebuild up` and Flyte's SDK keep beside code.

It would be another image after each run. The user's own patterns may ask for it.
"""

LEFT_OUT = Ignore.parse("**/__pycache__\n**/*.pyc\n", "flytebuild").joined(STATE)
"""Left out in the same way, but for Dockerfiles' folders: importing a module must not change an image either."""

ENVIRONMENTS = Ignore.parse("**/.venv\n**/.pixi\n", "flytebuild")
"""Left out of projects in the same way: what uv and pixi install on the host, for the host."""

MISSING_HINT = "a relative path starts at the current folder; `Path(__file__).parent / …` starts beside your file"


class Seen(Struct):
    """What was read already: one plan looks at each folder and each file once, whichever images want it."""

    folders: dict[tuple[str, Ignore], ScannedTree] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    notes: set[str] = field(default_factory=set)


class HostFiles(Struct):
    """The files of images. `ignore` filters folders; `roots` collects where each tree was read.

    `outputs` are the files and folders that flytebuild itself writes, which no image may take in.
    """

    ignore: Ignore = LEFT_OUT
    cache: StatCache | None = None
    roots: dict[str, HostFolder] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    outputs: tuple[Path, ...] = ()
    seen: Seen = field(default_factory=Seen)

    def filtered(self, ignore: Ignore) -> HostFiles:
        """The same files without what `ignore` leaves out; all else is shared."""
        return replace(self, ignore=ignore)

    def folder(self, path: Path, site: Site, *, filtered: bool = True) -> Tree:
        """A folder without what is ignored."""
        if not path.is_dir():
            problem = f"`{path}` is not a folder" if path.exists() else f"folder `{path}` does not exist"
            raise site.error(problem, hint=MISSING_HINT)
        found = self._scan(path, self.ignore if filtered else Ignore.none(), site)
        self.roots[found.tree.digest] = HostFolder(os.fspath(found.root))
        return found.tree

    def project(self, path: Path, site: Site) -> Tree:
        """The folder of a project that is installed, without the environments in it that are the host's."""
        return self.filtered(ENVIRONMENTS.joined(self.ignore)).folder(path, site)

    def file(self, path: Path, site: Site, name: str | None = None) -> Tree:
        """One file, as a folder with that file in it, under its own name or another."""
        return self.files({name or path.name: path}, site)

    def files(self, files: Mapping[str, Path], site: Site) -> Tree:
        """Files by the path that they have in the tree, wherever they lie."""
        entries = [self._entry(path, name, site) for name, path in files.items()]
        return self.combined(entries, files)

    def combined(self, entries: Iterable[Entry], places: Mapping[str, Path]) -> Tree:
        """A tree of entries that were read in several places: each by its own, in `places`."""
        moved = {name: str(path.resolve()) for name, path in places.items()}
        tree = assemble(entries)
        self.roots[tree.digest] = HostFolder("", moved)
        return tree

    def overlaid(self, tree: Tree, files: Mapping[str, Path], site: Site) -> Tree:
        """`tree` with single files in it replaced or added."""
        entries = [entry for entry in tree.entries if entry.path not in files]
        entries += [self._entry(path, name, site) for name, path in files.items()]
        below = self.roots[tree.digest]
        made = assemble(entries)
        moved = {name: str(path.resolve()) for name, path in files.items()}
        self.roots[made.digest] = HostFolder(below.root, {**below.moved, **moved})
        return made

    def bundle(self, root: Path, site: Site) -> Tree:
        """The modules that this process has loaded from below `root`."""
        found = {str(path.resolve().relative_to(root.resolve())): path for path in loaded_modules(root)}
        return self.files(found, site)

    def text(self, path: Path, site: Site) -> str:
        """The text of a file that decides which others are needed."""
        place = os.path.abspath(path)
        if place not in self.seen.texts:
            _check_file(path, site)
            try:
                self.seen.texts[place] = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                hint = "make it readable, and its text UTF-8"
                raise site.error(f"`{path}` cannot be read ({error})", hint=hint) from error
        return self.seen.texts[place]

    def patterns(self, path: Path, site: Site) -> Ignore:
        """What an ignore file leaves out."""
        text = self.text(path, site)
        with blamed(site):
            return Ignore.parse(text, str(path))

    def note(self, message: str) -> None:
        """Tell once in a plan what stops nothing."""
        if message not in self.seen.notes:
            self.seen.notes.add(message)
            self.warnings.append(message)

    def _scan(self, path: Path, ignore: Ignore, site: Site) -> ScannedTree:
        key = (os.path.realpath(path), ignore)
        if key not in self.seen.folders:
            self._refuse_outputs(path, key[0], ignore, site)
            with blamed(site):
                found = self.seen.folders[key] = scan(path, ignore, self.cache)
            for warning in found.warnings:
                self.note(f"`{path}`: {warning.message}")
        return self.seen.folders[key]

    def _refuse_outputs(self, path: Path, root: str, ignore: Ignore, site: Site) -> None:
        """What we write ourselves would be another image each time."""
        for output in self.outputs:
            inside = os.path.relpath(os.path.realpath(output), root)
            if inside == "." or (inside.partition("/")[0] != ".." and not ignore.excludes(inside)):
                raise site.error(
                    f"folder `{path}` holds `{output}`, which flytebuild itself writes",
                    hint="leave that out with a line in `.dockerignore`, or take in a smaller folder",
                )

    def _entry(self, path: Path, name: str, site: Site) -> Entry:
        place = os.path.abspath(path)
        if place not in self.seen.files:
            _check_file(path, site)
            with blamed(site):
                (self.seen.files[place],) = scan_file(path, self.cache).tree.entries
        return replace(self.seen.files[place], path=name)


def _check_file(path: Path, site: Site) -> None:
    if not path.is_file():
        problem = f"`{path}` is not a file" if path.exists() else f"file `{path}` does not exist"
        raise site.error(problem, hint=MISSING_HINT)


@contextmanager
def blamed(site: Site) -> Iterator[None]:
    """Errors about files, and the system's refusals to look at them, told with the layer that wants them."""
    try:
        yield
    except (IgnoreFileError, SourceError) as error:
        raise site.error(error.message, hint=error.hint) from error
    except OSError as error:
        path = shown(error.filename) if isinstance(error.filename, (str, bytes)) else "a file of it"
        raise site.error(f"`{path}` cannot be read: {error.strerror or error}", hint="make it readable") from error
