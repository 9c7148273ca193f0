"""Importing the user's files."""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flyte._environment import list_loaded_environments

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.gathering import gather
from flytebuild.authoring.modules import Importer, importer
from flytebuild.authoring.python_files import MANY, python_files
from flytebuild.authoring.roots import Place, found, named
from flytebuild.authoring.site import recorded, refusal_of
from flytebuild.authoring.standins import StandInError, refusal_of_stand_in, refuse_stand_ins, standing_in
from flytebuild.errors import DefinitionError, LoadError, UsageError
from flytebuild.events import Emit, Notice, ignore

_OURS = str(Path(__file__).parent.parent)


def load(paths: Sequence[Path], emit: Emit = ignore, *, stand_in: bool = False) -> Definitions:
    """Import files, and every file that imports flyte below folders; return what they define.

    Modules get the names by which they import each other, and none is loaded twice. What they print goes to stderr.
    `emit` is told of folders that cannot be looked into, or have very much in them. With `stand_in` packages that this
    machine lacks are stood in for, which is enough where only tasks use them.

    A file that was found in a folder and cannot be imported hides none of the others: it is one of the definitions'
    `problems`, as are environments of one name, and one that is made of a stand-in. Raises UsageError for a path that
    is not there or cannot be read; for a file that was given by its name LoadError with the user's traceback, and
    UnsupportedImageError when that is since an image takes no layers.
    """
    before = {id(environment) for environment in list_loaded_environments()}
    places = list(_places(paths, emit))
    failed: dict[str, DefinitionError] = {}
    with (
        recorded(),
        importer() as imports,
        _stdout_to_stderr(),
        _logging_as_before(),
        _standing_in(emit, wanted=stand_in) as made,
    ):
        for place, is_given in places:
            try:
                _import(imports, place, made)
            except DefinitionError as error:
                failed[str(place.file)] = error
                if is_given:
                    raise _told_once(failed)[str(place.file)] from error.__cause__
    # A file that was imported before defines nothing new; what it defined then counts all the same.
    asked = {str(place.file) for place, _ in places}
    defined = [
        environment
        for environment in list_loaded_environments()
        if id(environment) not in before or environment._declaring_file in asked
    ]
    if failed:
        failed = _told_once(failed)
    return gather(defined, failed, refuse_stand_ins if stand_in else None)


def _told_once(failed: Mapping[str, DefinitionError]) -> dict[str, DefinitionError]:
    # Loaded here: most code can be imported.
    from flytebuild.authoring.broken import told_once

    return told_once(failed)


def _places(paths: Sequence[Path], emit: Emit) -> Iterator[tuple[Place, bool]]:
    """What is to be imported, and whether it was given by its name."""
    for path in paths:
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:
            raise UsageError(f"`{path}` cannot be read ({error.strerror})") from error
        if is_folder:
            yield from ((found(file, path), False) for file in _python_files(path.resolve(), emit))
        elif is_file:
            if path.suffix != ".py":
                raise UsageError(f"`{path}` is not a Python file", hint="its name must end in `.py`")
            yield named(path), True
        else:
            raise UsageError(f"`{path}` does not exist", hint=_instead_of(path))


def _instead_of(path: Path) -> str:
    """What to give in the place of a path that is not there: many who begin name a task."""
    file, colon, name = str(path).partition(":")
    if colon and Path(file).exists():
        return f"give `{file}`, and `--for {name}` for what is in it"
    if path.suffix or len(path.parts) > 1:
        return "give a Python file, or a folder with Python files"
    return f"give a Python file, or a folder with Python files; a task or an environment is named with `--for {path}`"


def _python_files(folder: Path, emit: Emit) -> Iterator[Path]:
    def skip(error: OSError) -> None:
        # Somebody else's data, such as a database's: Python could not import from there either.
        emit(Notice(f"`{_shown(Path(error.filename))}` is skipped, since it cannot be read ({error.strerror})"))

    def wander(folder: Path) -> None:
        emit(
            Notice(
                f"`{folder}` has more than {MANY:,} folders, and all Python in them is looked at; "
                "where less is meant, give a file or a folder"
            )
        )

    return python_files(folder, skip, wander)


@contextlib.contextmanager
def _standing_in(emit: Emit, *, wanted: bool) -> Iterator[Mapping[str, str]]:
    if not wanted:
        yield {}
        return
    with standing_in() as made:
        yield made
    for module, file in made.items():
        emit(Notice(f"`{module}` is not installed here; `{_shown(Path(file))}` is read without it"))


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Our stdout is for results; what modules print, and what commands print that they call, is none."""
    with contextlib.ExitStack() as stack:
        sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            kept = os.dup(1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            os.dup2(2, 1)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def _logging_as_before() -> Iterator[None]:
    """What modules set up for all logging is for their tasks: ours, and that of our libraries, is nobody's output."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@contextlib.contextmanager
def _staying() -> Iterator[None]:
    """End in the folder that was the current one."""
    here = Path.cwd()
    try:
        yield
    finally:
        os.chdir(here)


def _import(imports: Importer, place: Place, made: Mapping[str, str]) -> None:
    """Import one file; `made` are the modules that are stood in for by then."""
    file = place.file
    if "." in file.stem:
        raise LoadError(
            f"`{_shown(file)}` cannot be imported: the name of a module has no dot in it",
            traceback="",
            hint="rename the file",
        )
    try:
        # A module that goes elsewhere takes neither the others along nor us.
        with _staying():
            module = imports.load(file, place.name, place.roots)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if refusal := refusal_of(error) or refusal_of_stand_in(error):
            raise refusal from error
        if isinstance(error, StandInError):
            raise LoadError(
                f"`{_shown(file)}` needs `{error.name}` to be read, and `{error.module}` is not installed here",
                traceback=_users_traceback(error),
                hint=f"install `{error.module}` on this machine, or use it in tasks alone",
            ) from error
        # Whatever else a user's module raises while it is imported, SystemExit included, is theirs to read.
        raise LoadError(
            f"`{_shown(file)}` fails to import: {type(error).__name__}: {_first_line(error)}",
            traceback=_users_traceback(error),
            hint=_reason(file, made, error),
        ) from error
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != file:
        raise LoadError(
            f"`{_shown(file)}` cannot be imported as `{place.name}`: that is `{origin}`",
            traceback="",
            hint="rename the file, or give the folder that its imports start from",
        )


def _reason(file: Path, made: Mapping[str, str], error: BaseException) -> str:
    """Why an import may fail: most errors are the module's own, unless something is not what the module thinks."""
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] in made:
        return f"install `{error.name.partition('.')[0]}` on this machine: a library that is installed here needs it"
    involved = {str(file), *(frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))}
    lacking = [name for name in made if any(name in _imported(item) for item in sorted(involved))]
    if not lacking:
        return f"this is the module's own error; `python {_shown(file)}` shows it as well"
    names = ", ".join(f"`{name}`" for name in lacking[:3]) + (" and others" if len(lacking) > 3 else "")
    return f"this machine lacks {names}, which may be why; install it, or use it in tasks alone"


def _imported(file: str) -> set[str]:
    """The first names of the modules that a file of the user's imports."""
    if _is_machinery(file) or "site-packages" in file:
        return set()
    try:
        nodes = list(ast.walk(ast.parse(Path(file).read_bytes())))
    except (OSError, SyntaxError, ValueError):
        return set()
    plain = (alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names)
    named = (node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level)
    return {name.partition(".")[0] for name in (*plain, *named)}


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
