"""From what is loaded to what is checked: environments with their tasks' functions, and what live objects are."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import flyte
from flyte._task import TaskTemplate

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.roots import named
from flytebuild.check.subject import Kind, Subject, Task
from flytebuild.graph import EnvironmentNode

_INSTALLED = tuple(
    os.path.join(os.path.realpath(sysconfig.get_path(name)), "") for name in ("stdlib", "purelib", "platlib")
)
_SDK = os.path.join(os.path.dirname(os.path.abspath(inspect.getfile(flyte))), "")
_FUNCTIONS: tuple[tuple[Kind, str, str], ...] = (
    ("map", "flyte._map", "map"),
    ("run", "flyte._run", "run"),
    ("run", "flyte._run", "with_runcontext"),
    ("run", "flyte._deploy", "deploy"),
)
_NOTHING = object()
_HOOKS = ("_server", "_on_startup", "_on_shutdown")
"""Functions of an app's that run in its container."""


def subjects(definitions: Definitions, nodes: Sequence[EnvironmentNode]) -> Iterator[Subject]:
    """The environments of a closure, as they are checked."""
    for node in nodes:
        environment = definitions.environments[node.name]
        tasks = tuple(getattr(environment, "tasks", {}).values())
        hooks = tuple(hook for name in _HOOKS if callable(hook := getattr(environment, name, None)))
        functions = [*(getattr(task, "func", None) for task in tasks), *hooks]
        yield Subject(
            name=node.name,
            origin=definitions.place(node.name),
            depends_on=node.depends_on,
            tasks=tuple(_task(task) for task in tasks),
            image=node.image,
            roots=tuple(dict.fromkeys(root for function in functions for root in _roots(function))),
            variables=definitions.variables(node.name),
            functions=hooks,
        )


class LiveObjects:
    """What is known of the objects of the modules that are loaded (`flytebuild.check.subject.Known`)."""

    def task(self, value: object) -> Task | None:
        """The task that a value is, if it is one that this code defines."""
        return _task(value) if isinstance(value, TaskTemplate) else None

    def kind(self, value: object) -> Kind:
        """`flyte.map` calls what it is given; `flyte.run` and its like start runs, or none."""
        return next((kind for kind, known in _of_flyte() if value is known), "")

    def is_users(self, file: str) -> bool:
        """Whether a file is neither installed nor made up."""
        return _is_users(file)


def _of_flyte() -> Iterator[tuple[Kind, object]]:
    """Flyte's own functions that take tasks, as far as they are loaded: what is not, nobody has used."""
    for kind, module, name in _FUNCTIONS:
        if module in sys.modules:
            yield kind, vars(sys.modules[module]).get(name, _NOTHING)


def _task(task: TaskTemplate[Any, Any, Any]) -> Task:
    environment = task.parent_env() if task.parent_env else None
    owner = environment.name if environment else task.parent_env_name or task.name.partition(".")[0]
    return Task(task.name, owner, getattr(task, "func", None), _is_built(task.image))


def _is_built(image: object) -> bool:
    """Whether the SDK finds an image by its environment alone (`flyte._internal.runtime.task_serde`)."""
    if not isinstance(image, flyte.Image):
        return False
    return bool(image._layers or image._ref_name or image._is_cloned or image.dockerfile)


def _roots(function: object) -> tuple[str, ...]:
    """Where the imports of a function's module start."""
    function = inspect.unwrap(function) if callable(function) else None
    code = getattr(function, "__code__", None)
    return () if code is None else _roots_of(code.co_filename, getattr(function, "__module__", ""))


@lru_cache(maxsize=1024)
def _roots_of(path: str, name: str) -> tuple[str, ...]:
    """Where the imports of a file start: as it was loaded under a name, and as it says by itself."""
    if not os.path.isfile(path):
        return ()
    file, module = Path(path).resolve(), sys.modules.get(name)
    found = [str(root) for root in named(file).roots]
    if module is not None and name != "__main__" and getattr(module, "__file__", None) == str(file):
        above = len(name.split(".")) - (0 if file.name == "__init__.py" else 1)
        found.insert(0, str(file.parents[above] if above else file.parent))
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def _is_users(file: str) -> bool:
    path = os.path.realpath(file)
    return file.endswith(".py") and not path.startswith((*_INSTALLED, _SDK)) and "site-packages" not in path
