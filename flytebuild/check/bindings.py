"""Where the names of a function get their values: assignments, loops, imports, parameters."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from flytebuild.check.source import Function


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a name gets a value: an expression (or an element of it), or an import."""

    value: ast.expr | ast.Import | ast.ImportFrom
    name: str = ""
    is_element: bool = False


def bindings(node: Function) -> dict[str, list[Binding]]:
    """What is assigned to every name that a function binds, functions within it included."""
    found: dict[str, list[Binding]] = {}
    outside: set[str] = set()
    for item in ast.walk(node):
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
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if item is not node:
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
