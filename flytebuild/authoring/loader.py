"""Importing the user's files."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flyte._environment import list_loaded_environments

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.site import recorded
from flytebuild.errors import LoadError, UsageError

_MENTIONS_FLYTE = re.compile(rb"^\s*(?:import|from)\s+flyte\b", re.MULTILINE)
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "build", "dist"}
_OURS = str(Path(__file__).parent.parent)


def load(paths: Sequence[Path]) -> Definitions:
    """Import files, and every file that imports flyte below folders; return what they define.

    Modules get the names by which they import each other, so that none is loaded twice. Raises UsageError for a path
    that is not there, LoadError with the user's traceback when an import fails.
    """
    before = {id(environment) for environment in list_loaded_environments()}
    files = list(_files(paths))
    with recorded():
        for root, file in files:
            _import(root, file)
    # A file that was imported before defines nothing new; what it defined then counts all the same.
    asked = {str(file) for _, file in files}
    return Definitions.collect(
        environment
        for environment in list_loaded_environments()
        if id(environment) not in before or environment._declaring_file in asked
    )


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """(root, file) pairs: the root is the folder that absolute imports start from."""
    for path in paths:
        if path.is_dir():
            for file in _python_files(path.resolve()):
                yield path.resolve(), file
        elif path.is_file():
            if path.suffix != ".py":
                raise UsageError(f"`{path}` is not a Python file", hint="its name must end in `.py`")
            yield package_root(path), path.resolve()
        else:
            raise UsageError(f"`{path}` does not exist", hint="give a Python file, or a folder with Python files")


def _python_files(folder: Path) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not Path(parent, name, "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            file = Path(parent, name)
            if name.endswith(".py") and file.is_file() and _MENTIONS_FLYTE.search(_content(file)):
                yield file


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LoadError(f"`{_shown(file)}` cannot be read ({error.strerror})", traceback="") from error


def package_root(file: Path) -> Path:
    """The nearest folder above a file that is no package: where its absolute imports start."""
    folder = file.resolve().parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _import(root: Path, file: Path) -> None:
    parts = file.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        # Whatever a user's module raises while it is imported, SystemExit included, is theirs to read.
        raise LoadError(
            f"`{_shown(file)}` fails to import: {type(error).__name__}: {_first_line(error)}",
            traceback=_users_traceback(error),
            hint="this is the module's own error; `python " + _shown(file) + "` shows it as well",
        ) from error
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != file:
        raise LoadError(
            f"`{_shown(file)}` cannot be imported as `{name}`: that is `{origin}`",
            traceback="",
            hint="rename the file, or give the folder that its imports start from",
        )


def _users_traceback(error: BaseException) -> str:
    """The traceback without the frames of the import and of ours, which lie between the user's and the SDK's."""
    told = traceback.TracebackException.from_exception(error)
    pending, seen = [told], set[int]()
    while pending:
        part = pending.pop()
        if id(part) not in seen:
            seen.add(id(part))
            users = (frame for frame in part.stack if not _is_machinery(frame.filename))
            part.stack = traceback.StackSummary.from_list(users)
            pending += filter(None, (part.__cause__, part.__context__))
    return "".join(told.format()).rstrip()


def _is_machinery(file: str) -> bool:
    return file.startswith((_OURS, "<frozen importlib")) or file.endswith("importlib/__init__.py")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no message"])[0]


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
