"""What an expression of the user's code stands for, as far as that is certain without running it.

A name is looked up as Python does it: in the function, in its closure, in the module that is loaded. What a function
is given, what it assigns and what is in the containers that it names is followed; everything else is unknown, which is
no value at all.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType

from flytebuild.check.objects import (
    Bound,
    Instance,
    OneOf,
    Values,
    closure,
    distinct,
    file_of,
    held_in,
    identity,
    member,
)
from flytebuild.check.outline import Binding, Function
from flytebuild.check.source import Sources
from flytebuild.check.subject import Known

_DEPTH = 12
"""Names that lead to names are followed this far."""

_PLAIN = (str, bytes, int, float, complex, type(None))


class Scope:
    """One function as it is called: `given` are the values of its parameters, as far as they are known.

    `returned` is what functions return that were looked at already, by their code and arguments; nothing while they
    are.
    """

    def __init__(
        self,
        function: FunctionType,
        node: Function,
        known: Known,
        sources: Sources,
        given: Mapping[str, Values] | None = None,
        returned: dict[tuple[object, ...], Values] | None = None,
    ) -> None:
        self.function = function
        self.node = node
        self.known = known
        self.sources = sources
        self.given = {} if given is None else given
        self.returned = {} if returned is None else returned
        # What a name stands for is worked out once: `x = f(x)` asks for it again, and many such lines many times.
        self._named: dict[str, Values] = {}
        self._held: dict[str, Values] = {}
        self._bound = sources.outline(node).bindings
        self._closure = closure(function)

    def values(self, expression: ast.expr, depth: int = _DEPTH) -> Values:
        """What an expression may stand for."""
        if depth <= 0:
            return ()
        match expression:
            case ast.Name(id=name):
                return self._name(name, depth)
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"), args=[]), attr=name):
                return self._inherited(name, depth)
            case ast.Attribute(value=base, attr=name):
                return distinct(self._attribute(value, name) for value in self.values(base, depth - 1))
            case ast.Await(value=inner) | ast.NamedExpr(value=inner) | ast.Starred(value=inner):
                return self.values(inner, depth)
            case ast.IfExp(body=one, orelse=other):
                return self.values(one, depth - 1) + self.values(other, depth - 1)
            case ast.BoolOp(values=several):
                return distinct(self.values(item, depth - 1) for item in several)
            case ast.Subscript(value=base, slice=key):
                return self._subscript(base, key, depth)
            case ast.Call():
                return self._call(expression, depth)
            case _:
                return ()

    def elements(self, expression: ast.expr, depth: int = _DEPTH) -> Values:
        """What is in the container that an expression stands for."""
        if depth <= 0:
            return ()
        match expression:
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return distinct(
                    self.elements(item.value, depth - 1)
                    if isinstance(item, ast.Starred)
                    else self.values(item, depth - 1)
                    for item in items
                )
            case ast.Dict(values=items):
                return distinct(self.values(item, depth - 1) for item in items)
            case ast.ListComp(elt=item) | ast.SetComp(elt=item) | ast.GeneratorExp(elt=item):
                return self.values(item, depth - 1)
            case ast.Call(func=ast.Attribute(value=base, attr="values" | "items")):
                return self.elements(base, depth - 1)
            case ast.Call(func=ast.Name(id="enumerate" | "list" | "tuple" | "sorted" | "reversed"), args=[first, *_]):
                return self.elements(first, depth - 1)
            case ast.Call(func=ast.Name(id="zip"), args=several):
                return distinct(self.elements(item, depth - 1) for item in several)
            case ast.Name(id=name) if name in self._bound:
                if name not in self._held:
                    self._held[name] = ()
                    bound = [how.value for how in self._bound[name] if not how.is_element]
                    inside = (self.elements(value, depth - 1) for value in bound if isinstance(value, ast.expr))
                    self._held[name] = distinct(inside)
                return self._held[name]
            case _:
                return distinct(held_in(value) for value in self.values(expression, depth))

    def _name(self, name: str, depth: int) -> Values:
        if name in self._bound:
            if name not in self._named:
                given = self._named[name] = self.given.get(name, ())
                self._named[name] = given + distinct(self._assigned(how, depth - 1) for how in self._bound[name])
            return self._named[name]
        if name in self._closure:
            return (self._closure[name],)
        scope = self.function.__globals__
        if name in scope:
            return (scope[name],)
        return (getattr(builtins, name),) if hasattr(builtins, name) else ()

    def _assigned(self, how: Binding, depth: int) -> Values:
        if isinstance(how.value, ast.Import | ast.ImportFrom):
            return _imported(how.value, how.name, self.function.__globals__.get("__package__") or "")
        return self.elements(how.value, depth) if how.is_element else self.values(how.value, depth)

    def _attribute(self, value: object, name: str) -> Values:
        if self.known.task(value) or self.known.kind(value):
            return (value,) if name == "aio" else ()
        if isinstance(value, ModuleType):
            found = vars(value).get(name, sys.modules.get(f"{value.__name__}.{name}"))
            return () if found is None else (found,)
        if isinstance(value, OneOf | Bound | FunctionType):
            return ()
        if isinstance(value, Instance):
            return member(value.of, name, value) or self._own(value.of, name)
        if isinstance(value, type):
            return member(value, name, value)
        if not self.known.is_users(file_of(type(value))):
            return ()
        own = getattr(value, "__dict__", {})
        return (own[name],) if name in own else member(type(value), name, value)

    def _inherited(self, name: str, depth: int) -> Values:
        """A method of the classes above the one that this method is written in, on what it is called on itself."""
        owner = self._closure.get("__class__")
        if not isinstance(owner, type) or not self.node.args.args:
            return ()
        found = (vars(base)[name] for base in owner.__mro__[1:] if name in vars(base))
        function = next(found, None)
        if not isinstance(function, FunctionType):
            return ()
        return tuple(
            Bound(function, me) for me in self._name(self.node.args.args[0].arg, depth - 1) or (Instance(owner),)
        )

    def _own(self, owner: type, name: str) -> Values:
        """What the class's `__init__` assigns to an attribute."""
        make = inspect.getattr_static(owner, "__init__", None)
        node = self.sources.function(make.__code__) if isinstance(make, FunctionType) else None
        if node is None or not isinstance(make, FunctionType) or not node.args.args:
            return ()
        scope, me = Scope(make, node, self.known, self.sources, {}, self.returned), node.args.args[0].arg
        found: Values = ()
        for item in ast.walk(node):
            match item:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owned), attr=attribute)], value=given):
                    if owned == me and attribute == name:
                        found += scope.values(given)
        return found

    def _subscript(self, base: ast.expr, key: ast.expr, depth: int) -> Values:
        if isinstance(key, ast.Constant):
            for value in self.values(base, depth - 1):
                if isinstance(value, dict):
                    return (value[key.value],) if key.value in value else ()
                if isinstance(value, list | tuple) and isinstance(key.value, int):
                    return tuple(value[key.value : key.value + 1])
        return tuple(OneOf(value) for value in self.elements(base, depth - 1))

    def _call(self, call: ast.Call, depth: int) -> Values:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "override":
            return tuple(value for value in self.values(call.func.value, depth - 1) if self.known.task(value))
        found: Values = ()
        for callee in self.values(call.func, depth - 1):
            if callee is functools.partial and call.args:
                # What it is called with later is no matter for who it calls.
                found += self.values(call.args[0], depth - 1)
            elif callee is getattr and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
                name = str(call.args[1].value)
                found += distinct(self._attribute(value, name) for value in self.values(call.args[0], depth - 1))
            elif isinstance(callee, type) and self.known.is_users(file_of(callee)):
                found += (Instance(callee),)
            elif isinstance(callee, FunctionType) and self.known.is_users(callee.__code__.co_filename):
                found += self._returned(callee, call, depth - 1)
        return found

    def _returned(self, function: FunctionType, call: ast.Call, depth: int) -> Values:
        node = self.sources.function(function.__code__)
        if node is None or isinstance(node, ast.Lambda):
            return ()
        given = self.arguments(function, node, call, (), depth)
        mark = mark_of(function, given)
        if mark not in self.returned:
            self.returned[mark] = ()
            scope = Scope(function, node, self.known, self.sources, given, self.returned)
            returned = self.sources.outline(node).returned
            self.returned[mark] = distinct(scope.values(value, depth) for value in returned)
        return self.returned[mark]

    def arguments(
        self, function: FunctionType, node: Function, call: ast.Call, owner: Values, depth: int = _DEPTH
    ) -> dict[str, Values]:
        """What the parameters of a function stand for in a call; `owner` is its `self`, if it has one."""
        names = [item.arg for item in (*node.args.posonlyargs, *node.args.args)]
        given: dict[str, Values] = {names.pop(0): owner} if owner and names else {}
        is_open = any(isinstance(item, ast.Starred) for item in call.args) or any(
            not item.arg for item in call.keywords
        )
        for name, argument in zip(names, call.args, strict=False):
            if isinstance(argument, ast.Starred):
                break
            given[name] = self.values(argument, depth - 1)
        for keyword in call.keywords:
            if keyword.arg:
                given[keyword.arg] = self.values(keyword.value, depth - 1)
        # Where `*` or `**` may give a parameter its value, its default says nothing.
        defaults = {} if is_open else _defaults(function)
        return {name: values for name, values in (defaults | given).items() if values}


def _defaults(function: FunctionType) -> dict[str, Values]:
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    last = function.__defaults__ or ()
    found = dict(zip(names[len(names) - len(last) :], last, strict=True)) | (function.__kwdefaults__ or {})
    # What is no object of the user's, such as a number, leads to no task.
    return {name: (value,) for name, value in found.items() if not isinstance(value, _PLAIN)}


def mark_of(function: FunctionType, given: Mapping[str, Values]) -> tuple[object, ...]:
    """What tells one call of a function from another: its code, and what is known of its arguments."""
    return (function.__code__, *((name, *map(identity, values)) for name, values in sorted(given.items())))


def _imported(node: ast.Import | ast.ImportFrom, name: str, package: str) -> Values:
    """What an import within a function brings, if its module is loaded."""
    if isinstance(node, ast.Import):
        module = sys.modules.get(name)
        return () if module is None else (module,)
    parents = package.split(".")
    base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
    whole = ".".join(filter(None, (base, node.module)))
    found = vars(sys.modules[whole]).get(name) if whole in sys.modules else None
    found = sys.modules.get(f"{whole}.{name}") if found is None else found
    return () if found is None else (found,)
