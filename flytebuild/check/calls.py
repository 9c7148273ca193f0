"""Which tasks a function calls: by its code, and by that of the user's functions that it calls.

A call is one where it stands: `run_msa(x)`, `await fold.aio(x)`, `flyte.map(step, xs)`, `asyncio.gather(a(1), b(2))`,
or a method, an alias, a `functools.partial` or a helper that leads to one. `task.forward()` runs in the caller itself,
and `flyte.run` starts a run of its own: neither is one.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType, MethodType

from flytebuild.check.imports import unguarded
from flytebuild.check.source import Sources
from flytebuild.check.subject import Known, Task
from flytebuild.check.values import Bound, Instance, OneOf, Scope, Values, mark_of

_CALLERS = ("asyncio", "concurrent", "threading", "multiprocessing", "anyio", "contextvars")
"""Libraries that call what they are given."""

_CALLING_BUILTINS = (map, filter)
_DEPTH = 25


@dataclass(frozen=True, slots=True)
class Call:
    """A task that is called, where, and by way of which functions of the user's.

    `doubt` says why it may not be called after all; it is empty where it certainly is.
    """

    task: Task
    file: str
    line: int
    through: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Lazy:
    """An import that runs when the function is called."""

    node: ast.Import | ast.ImportFrom
    file: str
    package: str


@dataclass
class Reading:
    """What one function leads to: calls of tasks, its own imports, and functions whose code could not be read."""

    calls: dict[Call, None] = field(default_factory=dict)
    imports: list[Lazy] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def read(function: object, known: Known, sources: Sources) -> Reading:
    """Everything that a function of the user's calls, transitively."""
    reader = _Reader(known, sources, Reading())
    for layer in _layers(function):
        if known.is_users(layer.__code__.co_filename):
            try:
                reader.enter(layer, {}, (), _DEPTH)
            except Exception:  # noqa: BLE001 - objects of the user's may raise anything when asked what they are
                reader.reading.unreadable.append(layer.__name__)
    return reader.reading


def _layers(function: object) -> Iterator[FunctionType]:
    """A function and those that its decorators have wrapped."""
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        if isinstance(function, MethodType | functools.partial):
            function = getattr(function, "__func__", None) or getattr(function, "func", None)
            continue
        if isinstance(function, FunctionType):
            yield function
        function = inspect.getattr_static(function, "__wrapped__", None)


@dataclass
class _Reader:
    known: Known
    sources: Sources
    reading: Reading
    _entered: set[tuple[object, ...]] = field(default_factory=set)
    _returned: dict[tuple[object, ...], Values] = field(default_factory=dict)

    def enter(self, function: FunctionType, given: dict[str, Values], through: tuple[str, ...], depth: int) -> None:
        """Read one function as it is called with what is known of its arguments."""
        code = function.__code__
        mark = mark_of(function, given)
        if mark in self._entered or depth <= 0:
            return
        self._entered.add(mark)
        node = self.sources.function(code)
        if node is None:
            self.reading.unreadable.append(code.co_name)
            return
        scope = Scope(function, node, self.known, self.sources, given, self._returned)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        package = function.__globals__.get("__package__") or ""
        for item in (inner for statement in body for inner in ast.walk(statement)):
            if isinstance(item, ast.Call):
                self._call(item, scope, through, depth)
        if not through:
            # Whether another function is called may depend on what it needs.
            self.reading.imports += [Lazy(item, code.co_filename, package) for item in _imports(body)]

    def _call(self, call: ast.Call, scope: Scope, through: tuple[str, ...], depth: int) -> None:
        callees = scope.values(call.func)
        for callee in callees:
            self._callee(callee, call, scope, through, depth)
        if not callees and not self._starts_run(call.func, scope):
            self._handed(call, scope, through)

    def _starts_run(self, expression: ast.expr, scope: Scope) -> bool:
        """Whether a function is one of a context for runs: `flyte.with_runcontext(…).run`."""
        while isinstance(expression, ast.Attribute | ast.Call):
            expression = expression.value if isinstance(expression, ast.Attribute) else expression.func
            if any(self.known.kind(value) == "run" for value in scope.values(expression)):
                return True
        return False

    def _callee(self, callee: object, call: ast.Call, scope: Scope, through: tuple[str, ...], depth: int) -> None:
        doubt = ""
        if isinstance(callee, OneOf):
            callee, doubt = callee.value, "which of several is called is decided when it runs"
        if isinstance(callee, functools.partial):
            callee = callee.func
        if task := self.known.task(callee):
            self._found(task, call, scope, through, doubt)
            self._handed(call, scope, through)
            return
        match self.known.kind(callee):
            case "run":
                return
            case "map":
                for value in scope.values(call.args[0]) if call.args else ():
                    self._callee(value, call, scope, through, depth)
                return
        match callee:
            case Bound(function=function, owner=owner):
                self._enter(function, call, scope, (owner,), through, depth)
            case MethodType(__func__=FunctionType() as function, __self__=owner):
                self._enter(function, call, scope, (owner,), through, depth)
            case type() as made if made not in _CALLING_BUILTINS:
                # Of an object that only keeps a task nothing is said.
                make = inspect.getattr_static(made, "__init__", None)
                if isinstance(make, FunctionType):
                    self._enter(make, call, scope, (Instance(made),), through, depth)
            case FunctionType() as function:
                is_ours = False
                for layer in _layers(function):
                    is_ours |= self._enter(layer, call, scope, (), through, depth)
                if not is_ours:
                    self._handed(call, scope, through, function)
            case _:
                self._handed(call, scope, through, callee)

    def _enter(
        self,
        function: FunctionType,
        call: ast.Call,
        scope: Scope,
        owner: Values,
        through: tuple[str, ...],
        depth: int,
    ) -> bool:
        """Go on in a function of the user's; whether it is one."""
        if not self.known.is_users(function.__code__.co_filename):
            return False
        node = self.sources.function(function.__code__)
        given = scope.arguments(node, call, owner) if node else {}
        is_wrapped = function is getattr(scope.function, "__wrapped__", None)
        self.enter(function, given, through if is_wrapped else (*through, function.__name__), depth - 1)
        return True

    def _handed(self, call: ast.Call, scope: Scope, through: tuple[str, ...], callee: object = None) -> None:
        """Tasks that are given to something else than the user's own code."""
        if any(callee is harmless for harmless in _HARMLESS):
            return
        module = getattr(callee, "__module__", None) or ""
        is_caller = any(callee is caller for caller in _CALLING_BUILTINS) or module.startswith(_CALLERS)
        doubt = "" if is_caller else f"whether `{ast.unparse(call.func)}` calls it is not known"
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            for value in scope.values(argument):
                task = self.known.task(value.func if isinstance(value, functools.partial) else value)
                if task:
                    self._found(task, call, scope, through, doubt)

    def _found(self, task: Task, call: ast.Call, scope: Scope, through: tuple[str, ...], doubt: str) -> None:
        file = scope.function.__code__.co_filename
        self.reading.calls[Call(task, file, call.lineno, through, doubt)] = None


_HARMLESS = (isinstance, issubclass, print, repr, len, id, getattr, hasattr, setattr, callable, hash, vars)


def _imports(body: list[ast.expr] | list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a function that nothing catches."""
    return unguarded([item for item in body if isinstance(item, ast.stmt)], is_function=True)
