"""The user's files as syntax trees: each is read and parsed once."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cached_property
from types import CodeType

from msgspec import Struct, field

from flytebuild.check.outline import Function, Outline

_IGNORE = re.compile(r"#\s*flytebuild:\s*ignore(?:\[([a-z, -]*)\])?")


class Source(Struct, frozen=True, dict=True):
    """One file."""

    text: str
    tree: ast.Module

    @cached_property
    def functions(self) -> dict[tuple[int, str], Function]:
        """Every function by its first line, that of its first decorator, and its name."""
        found: dict[tuple[int, str], Function] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min((item.lineno for item in node.decorator_list), default=node.lineno)
                found[first, node.name] = node
            elif isinstance(node, ast.Lambda):
                found[node.lineno, "<lambda>"] = node
        return found

    def ignores(self, line: int, rule: str) -> bool:
        """Whether a comment in a line, or alone in the one above, turns a rule off there."""
        lines = self.text.splitlines()
        here = lines[line - 1] if 0 < line <= len(lines) else ""
        above = lines[line - 2].strip() if 1 < line <= len(lines) + 1 else ""
        for text in (here, above if above.startswith("#") else ""):
            match = _IGNORE.search(text)
            if match and (match[1] is None or rule in {name.strip() for name in match[1].split(",")}):
                return True
        return False


class Sources(Struct):
    """Files by their paths; `read` returns a file's text, and None for what cannot be read."""

    read: Callable[[str], str | None]
    _known: dict[str, Source | None] = field(default_factory=dict)
    _outlines: dict[Function, Outline] = field(default_factory=dict)

    def of(self, file: str) -> Source | None:
        """A file's source; None where it cannot be read or is no Python."""
        if file not in self._known:
            text = self.read(file)
            try:
                self._known[file] = None if text is None else Source(text, ast.parse(text))
            except (SyntaxError, ValueError):
                self._known[file] = None
        return self._known[file]

    def function(self, code: CodeType) -> Function | None:
        """The syntax of a function by its code; None where its file is not there, or is another one by now."""
        source = self.of(code.co_filename)
        return source.functions.get((code.co_firstlineno, code.co_name)) if source else None

    def outline(self, node: Function) -> Outline:
        """The outline of a function of these files."""
        if node not in self._outlines:
            self._outlines[node] = Outline.of(node)
        return self._outlines[node]
