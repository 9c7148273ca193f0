"""Names of environments and tasks as the text of files tells them, for who may not run any of it.

`env = flyte.TaskEnvironment("name")` and `@env.task` are seen, with the environment in the same file or imported by its
variable's name. Names that are computed are not; nothing here is an error.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from flytebuild.authoring.python_files import python_files
from flytebuild.targets import Candidate, Targets

_KINDS = ("TaskEnvironment", "AppEnvironment")


def names(paths: Sequence[Path]) -> tuple[str, ...]:
    """What may be asked for by its name in files, and in folders of files."""
    modules = [module for path in paths for module in _modules(path)]
    known: dict[str, str] = {}
    for module in modules:
        known = _environments(module) | known
    candidates = [item for module in modules for item in _candidates(module, known)]
    return Targets(candidates).names


def _modules(path: Path) -> Iterator[ast.Module]:
    files = python_files(path, lambda _: None) if path.is_dir() else [path]
    for file in files:
        try:
            yield ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue


def _environments(module: ast.Module) -> dict[str, str]:
    """The names of a module's environments, by their variables."""
    found: dict[str, str] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and (name := _made(node.value)):
            found |= {target.id: name for target in node.targets if isinstance(target, ast.Name)}
    return found


def _made(call: ast.Call) -> str | None:
    """The name of the environment that a call makes."""
    function = call.func
    kind = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if kind not in (*_KINDS, "clone_with"):
        return None
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    name = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return name if isinstance(name, str) else None


def _candidates(module: ast.Module, known: dict[str, str]) -> Iterator[Candidate]:
    mine = known | _environments(module)
    for name in _environments(module).values():
        yield Candidate(name, name)
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if environment := mine.get(_task_of(decorator)):
                    yield Candidate(f"{environment}.{node.name}", environment)


def _task_of(decorator: ast.expr) -> str:
    """The variable of the environment whose task a decorator makes, or nothing."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    if isinstance(decorator, ast.Attribute) and decorator.attr == "task" and isinstance(decorator.value, ast.Name):
        return decorator.value.id
    return ""
