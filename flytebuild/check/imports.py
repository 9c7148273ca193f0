"""What importing a module imports: the user's own files, and what must be installed."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence

from msgspec import Struct

from flytebuild.check.source import Sources

_ABSENCES = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_GUARDS = (ast.Try, ast.With, ast.AsyncWith)


class Import(Struct, frozen=True):
    """A module that must be installed, by its whole name, and the first place that imports it."""

    module: str
    file: str
    line: int
    is_lazy: bool = False

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def unguarded(body: Sequence[ast.stmt], *, is_function: bool = False) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that certainly run when these statements do, and whose failure nothing catches."""
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom():
                yield statement
            case ast.Try(body=inner, handlers=handlers, finalbody=last):
                if not any(_catches(handler) for handler in handlers):
                    yield from unguarded(inner, is_function=is_function)
                yield from unguarded(last, is_function=is_function)
            case ast.With(items=items, body=inner) | ast.AsyncWith(items=items, body=inner):
                # `contextlib.suppress(ImportError)`, and whatever else may treat imports in its own way.
                if is_function or not any(isinstance(item.context_expr, ast.Call) for item in items):
                    yield from unguarded(inner, is_function=is_function) if not _suppresses(items) else ()
            case ast.ClassDef(body=inner):
                yield from unguarded(inner, is_function=is_function)
            case _:
                # What is conditional may not run, and a function's body runs when it is called.
                continue


def is_answered(tree: ast.Module, line: int) -> bool:
    """Whether the code around a line goes on when an import there fails; to raise something else is no answer."""
    return any(_answers(node) and _spans(node.body, line) for node in ast.walk(tree) if isinstance(node, _GUARDS))


def _answers(guard: ast.Try | ast.With | ast.AsyncWith) -> bool:
    if isinstance(guard, ast.Try):
        return any(_catches(item) and not isinstance(item.body[-1], ast.Raise) for item in guard.handlers)
    return _suppresses(guard.items)


def _spans(body: Sequence[ast.stmt], line: int) -> bool:
    return body[0].lineno <= line <= (body[-1].end_lineno or body[-1].lineno)


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(item).rpartition(".")[2] in _ABSENCES for item in types)


def _suppresses(items: Sequence[ast.withitem]) -> bool:
    return any("suppress" in ast.unparse(item.context_expr) for item in items)


class Modules(Struct, frozen=True):
    """The user's modules below some folders."""

    roots: tuple[str, ...]
    sources: Sources

    def closure(self, starts: Sequence[str]) -> Iterator[Import]:
        """What must be installed for the modules in these files to be imported; each module once, in order."""
        pending, seen = list(starts), set(starts)
        told: set[str] = set()
        while pending:
            file = pending.pop(0)
            source = self.sources.of(file)
            if source is None:
                continue
            package = self._package(file)
            for node in unguarded(source.tree.body):
                for name, files in self.of(node, package):
                    new = [item for item in files if item not in seen]
                    seen.update(new)
                    pending += new
                    if not files and name not in told:
                        told.add(name)
                        yield Import(name, file, node.lineno)

    def of(self, node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, list[str]]]:
        """The modules that a statement imports, each with the user's files that this runs; none of what is installed.

        The standard library is left out.
        """
        for name, inner in _names(node, package):
            if name.partition(".")[0] in sys.stdlib_module_names:
                continue
            files = self._files(name)
            if files and inner:
                files = [*files, *(file for file in self._files(f"{name}.{inner}") if file not in files)]
            yield name, files

    def _files(self, name: str) -> list[str]:
        """The files that importing one of the user's modules runs, its packages first; nothing for another's.

        A folder without an `__init__.py` is a package as well, and has no file.
        """
        parts = name.split(".")
        for root in self.roots:
            path = os.path.join(root, *parts)
            found = [path + ".py"] if os.path.isfile(path + ".py") else []
            if found or os.path.isdir(path):
                folders = [os.path.join(root, *parts[:length]) for length in range(1, len(parts) + 1)]
                inits = [os.path.join(folder, "__init__.py") for folder in folders]
                files = [file for file in inits if os.path.isfile(file)] + found
                if files or _has_modules(path):
                    return files or [path]
        return []

    def _package(self, file: str) -> str:
        """The package that a file's relative imports start from."""
        folder = os.path.dirname(file)
        for root in self.roots:
            relative = os.path.relpath(folder, root)
            if not relative.startswith(".."):
                return "" if relative == "." else relative.replace(os.sep, ".")
        return ""


def _names(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """The modules of a statement, each with a name in it that may be a module as well."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, ""
        return
    parents = package.split(".") if package else []
    base = parents[: len(parents) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        if module:
            yield module, alias.name
        elif node.level:
            yield alias.name, ""


def _has_modules(folder: str) -> bool:
    try:
        return any(name.endswith(".py") for name in os.listdir(folder))
    except OSError:
        return False
