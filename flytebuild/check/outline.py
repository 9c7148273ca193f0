"""What is asked of a function's syntax again and again: where its names get their values, what it calls and returns."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Binding(Struct, frozen=True):
    """Where a name gets a value: an expression (or an element of it), or an import."""

    value: ast.expr | ast.Import | ast.ImportFrom
    name: str = ""
    is_element: bool = False


class Outline(Struct, frozen=True):
    """One function, with the functions within it: every name that it binds, its calls, what it returns.

    A name without a binding is a parameter, or gets its value in a way that is not followed.
    """

    bindings: Mapping[str, Sequence[Binding]]
    body: Sequence[ast.stmt]
    calls: Sequence[ast.Call]
    returned: Sequence[ast.expr]

    @classmethod
    def of(cls, node: Function) -> Outline:
        """The outline of a function; its decorators and defaults are no part of it."""
        body = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
        inner = [item for statement in body for item in ast.walk(statement)]
        return cls(
            bindings=_bindings([node.args, *inner]),
            body=body,
            calls=[item for item in inner if isinstance(item, ast.Call)],
            returned=[item.value for item in inner if isinstance(item, ast.Return) and item.value],
        )


def _bindings(nodes: Iterable[ast.AST]) -> dict[str, list[Binding]]:
    found: dict[str, list[Binding]] = {}
    outside: set[str] = set()
    for item in nodes:
        match item:
            case ast.arguments():
                for argument in (*item.posonlyargs, *item.args, *item.kwonlyargs, item.vararg, item.kwarg):
                    if argument:
                        found.setdefault(argument.arg, [])
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    _bind(found, target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                _bind(found, target, value)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                _bind(found, item.target, item.iter, is_element=True)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    bound = alias.asname or (
                        alias.name.partition(".")[0] if isinstance(item, ast.Import) else alias.name
                    )
                    whole = alias.name if alias.asname or isinstance(item, ast.ImportFrom) else bound
                    found.setdefault(bound, []).append(Binding(item, whole))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.setdefault(item.name, [])
            case ast.Name(id=name, ctx=ast.Store()):
                found.setdefault(name, [])
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                outside.update(names)
    return {name: how for name, how in found.items() if name not in outside}


def _bind(found: dict[str, list[Binding]], target: ast.expr, value: ast.expr, *, is_element: bool = False) -> None:
    match target, value:
        case ast.Name(id=name), _:
            found.setdefault(name, []).append(Binding(value, is_element=is_element))
        case ((ast.Tuple(elts=targets) | ast.List(elts=targets)), ast.Tuple(elts=values)) if not is_element:
            for inner, given in zip(targets, values, strict=False):
                _bind(found, inner, given)
        case ((ast.Tuple(elts=targets) | ast.List(elts=targets)), _) if is_element:
            # `for name, task in PAIRS`: which of them gets what is not told apart.
            for inner in targets:
                _bind(found, inner, value, is_element=True)
        case _:
            pass
