"""Which tasks a function calls: by its code, and by that of the user's functions that it calls.

A call is one where it stands: `run_msa(x)`, `await fold.aio(x)`, `flyte.map(step, xs)`, `asyncio.gather(a(1), b(2))`,
or a method, an alias, a `functools.partial` or a helper that leads to one. `task.forward()` runs in the caller itself,
and `flyte.run` starts a run of its own: neither is one.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections import deque
from collections.abc import Iterator
from types import FunctionType, MethodType

from msgspec import Struct, field

from flytebuild.check.imports import unguarded
from flytebuild.check.objects import Bound, Instance, OneOf, Values, called
from flytebuild.check.outline import Outline
from flytebuild.check.source import Sources
from flytebuild.check.subject import Known, Task
from flytebuild.check.values import Scope, mark_of

_CALLERS = ("asyncio", "concurrent", "threading", "multiprocessing", "anyio", "contextvars")
"""Libraries that call what they are given."""

_CALLING_BUILTINS = (map, filter)
_DEPTH = 25


class Call(Struct, frozen=True):
    """A task that is called, where, and by way of which functions of the user's.

    `doubt` says why it may not be called after all; it is empty where it certainly is.
    """

    task: Task
    file: str
    line: int
    through: tuple[str, ...] = ()
    doubt: str = ""


class Lazy(Struct, frozen=True):
    """An import that runs when the function is called."""

    node: ast.Import | ast.ImportFrom
    file: str
    package: str


class Reading(Struct):
    """What one function leads to: calls of tasks, its own imports, and functions whose code could not be read."""

    calls: dict[Call, None] = field(default_factory=dict)
    imports: list[Lazy] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class _Visit:
    """One function as it is called with what is known of its arguments: what it does itself, and where it goes on.

    `found` has tasks with a line and a doubt, `onward` functions with their arguments and what they are called.
    """

    def __init__(self, function: FunctionType, outline: Outline | None = None) -> None:
        self.function = function
        self.outline = outline
        self.found: list[tuple[Task, int, str]] = []
        self.onward: list[tuple[FunctionType, dict[str, Values], str]] = []


class Reader:
    """Reads functions; what several of them lead to is read once."""

    def __init__(self, known: Known, sources: Sources) -> None:
        self._known = known
        self._sources = sources
        self._visits: dict[tuple[object, ...], _Visit] = {}
        self._returned: dict[tuple[object, ...], Values] = {}

    def read(self, start: object) -> Reading:
        """Everything that a function of the user's calls, transitively, the nearest first."""
        reading = Reading()
        starts = [layer for layer in _layers(start) if self._known.is_users(layer.__code__.co_filename)]
        pending: deque[tuple[FunctionType, dict[str, Values], tuple[str, ...]]] = deque()
        pending.extend((layer, {}, ()) for layer in starts)
        seen: set[tuple[object, ...]] = set()
        while pending:
            layer, given, through = pending.popleft()
            mark = mark_of(layer, given)
            if mark not in seen and len(through) <= _DEPTH:
                seen.add(mark)
                visit = self._visit(mark, layer, given)
                _note(reading, visit, through)
                for function, arguments, name in visit.onward:
                    pending.append((function, arguments, (*through, name) if name else through))
        return reading

    def _visit(self, mark: tuple[object, ...], function: FunctionType, given: dict[str, Values]) -> _Visit:
        if mark not in self._visits:
            visit = self._visits[mark] = _Visit(function)
            node = self._sources.function(function.__code__)
            if node is not None:
                scope = Scope(function, node, self._known, self._sources, given, self._returned)
                outline = self._sources.outline(node)
                try:
                    for call in outline.calls:
                        _Calling(call, scope, visit).follow()
                    visit.outline = outline
                except Exception:  # noqa: BLE001 - objects of the user's may raise anything when asked what they are
                    visit.outline = None
        return self._visits[mark]


def _note(reading: Reading, visit: _Visit, through: tuple[str, ...]) -> None:
    """Add what a visit has found, by way of some functions."""
    code = visit.function.__code__
    for task, line, doubt in visit.found:
        reading.calls[Call(task, code.co_filename, line, through, doubt)] = None
    if visit.outline is None:
        reading.unreadable.append(code.co_name)
    elif not through:
        # Whether another function is called may depend on what it needs.
        package = visit.function.__globals__.get("__package__") or ""
        imports = unguarded(visit.outline.body, is_function=True)
        reading.imports += [Lazy(item, code.co_filename, package) for item in imports]


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


class _Calling(Struct):
    """One call in a function: what it calls is noted in the visit."""

    call: ast.Call
    scope: Scope
    visit: _Visit

    def follow(self) -> None:
        """Note the tasks that it calls or hands on, and the user's functions that it leads to."""
        callees = self.scope.values(self.call.func)
        for callee in callees:
            self._callee(callee)
        if not callees:
            self._handed(None)

    def _callee(self, callee: object) -> None:
        doubt = ""
        if isinstance(callee, OneOf):
            callee, doubt = callee.value, "which of several is called is decided when it runs"
        if isinstance(callee, functools.partial):
            callee = callee.func
        if task := self.scope.known.task(callee):
            self.visit.found.append((task, self.call.lineno, doubt))
            self._handed(callee)
            return
        match self.scope.known.kind(callee):
            case "run":
                return
            case "map":
                for value in self.scope.values(self.call.args[0]) if self.call.args else ():
                    self._callee(value)
                return
        match callee:
            case Bound(function=function, owner=owner):
                self._enter(function, (owner,))
            case MethodType(__func__=FunctionType() as function, __self__=owner):
                self._enter(function, (owner,))
            case type() as made if made not in _CALLING_BUILTINS:
                # Of an object that only keeps a task nothing is said.
                make = inspect.getattr_static(made, "__init__", None)
                if isinstance(make, FunctionType):
                    self._enter(make, (Instance(made),))
            case _:
                entered = [self._enter(layer, ()) for layer in _layers(callee)]
                for method in () if any(entered) else called(callee, self.scope.known):
                    if isinstance(method, Bound):
                        entered.append(self._enter(method.function, (method.owner,)))
                if not any(entered):
                    self._handed(callee)

    def _enter(self, function: FunctionType, owner: Values) -> bool:
        """Go on in a function of the user's; whether it is one."""
        scope = self.scope
        if not scope.known.is_users(function.__code__.co_filename):
            return False
        node = scope.sources.function(function.__code__)
        given = scope.arguments(function, node, self.call, owner) if node else {}
        is_wrapped = function is getattr(scope.function, "__wrapped__", None)
        self.visit.onward.append((function, given, "" if is_wrapped else function.__name__))
        return True

    def _handed(self, callee: object) -> None:
        """Tasks that are given to something else than the user's own code."""
        if any(callee is harmless for harmless in _HARMLESS):
            return
        arguments = (*self.call.args, *(keyword.value for keyword in self.call.keywords))
        values = (value for argument in arguments for value in self.scope.values(argument))
        tasks = [
            task
            for value in values
            if (task := self.scope.known.task(value.func if isinstance(value, functools.partial) else value))
        ]
        if not tasks or (callee is None and self._starts_run()):
            return
        module = getattr(callee, "__module__", None) or ""
        is_caller = any(callee is caller for caller in _CALLING_BUILTINS) or module.startswith(_CALLERS)
        doubt = "" if is_caller else f"whether `{ast.unparse(self.call.func)}` calls it is not known"
        self.visit.found += [(task, self.call.lineno, doubt) for task in tasks]

    def _starts_run(self) -> bool:
        """Whether what is called is of a context for runs: `flyte.with_runcontext(…).run`."""
        expression = self.call.func
        while isinstance(expression, ast.Attribute | ast.Call):
            expression = expression.value if isinstance(expression, ast.Attribute) else expression.func
            if any(self.scope.known.kind(value) == "run" for value in self.scope.values(expression)):
                return True
        return False


_HARMLESS = (isinstance, issubclass, print, repr, len, id, getattr, hasattr, setattr, callable, hash, vars)
