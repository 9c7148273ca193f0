"""From Flyte's environments to ours: names, edges, tasks, images."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import flyte

from flytebuild.authoring import sdk
from flytebuild.authoring.images import Reader
from flytebuild.authoring.site import origin_of, relative
from flytebuild.errors import DefinitionError, DependencyCycleError, DuplicateEnvironmentError, UsageError
from flytebuild.graph import EnvironmentNode, closure
from flytebuild.targets import Candidate, Targets

if TYPE_CHECKING:
    # Not when it runs: importing it takes longer than a whole plan.
    from flyte.extend import TaskTemplate


@dataclass(frozen=True)
class Definitions:
    """Everything that the loaded code defines, by environment name."""

    environments: Mapping[str, flyte.Environment]

    @classmethod
    def collect(cls, roots: Iterable[flyte.Environment]) -> Definitions:
        """The environments given and all that they depend on.

        Raises DuplicateEnvironmentError where two of them share a name.
        """
        found: dict[str, flyte.Environment] = {}
        pending = deque(roots)
        # Each is looked at once, however many depend on it: on layered graphs there are more ways than environments.
        met = {id(environment) for environment in pending}
        while pending:
            environment = pending.popleft()
            other = found.setdefault(environment.name, environment)
            if other is not environment:
                raise _duplicate(other, environment)
            for item in environment.depends_on:
                if id(item) not in met:
                    met.add(id(item))
                    pending.append(item)
        return cls(found)

    def walk(self, targets: Sequence[str] = ()) -> tuple[str, ...]:
        """The names of the closure of `depends_on` from tasks or environments, dependencies first; all without targets.

        Linear in environments and edges. Raises DefinitionError where nothing is defined, DependencyCycleError with
        the places of a cycle, and what `flytebuild.targets` raises for the targets.
        """
        if not self.environments:
            raise DefinitionError(
                "No Flyte environment is defined here",
                hint="give a Python file that defines a `flyte.TaskEnvironment`, or a folder with such files",
            )
        edges = {name: [item.name for item in env.depends_on] for name, env in self.environments.items()}
        try:
            return closure(edges, self._targets.environments(targets) if targets else edges)
        except DependencyCycleError as error:
            raise DependencyCycleError(error.cycle, {name: self.place(name) for name in error.cycle}) from None

    @property
    def names(self) -> tuple[str, ...]:
        """What may be asked for by its name: environments and tasks."""
        return self._targets.names

    def place(self, name: str) -> str:
        """`file:line` where an environment is written, or its file alone where the line is not known."""
        return _place(self.environments[name])

    def needed(self, targets: Sequence[str] = (), reader: Reader | None = None) -> tuple[EnvironmentNode, ...]:
        """The closure of `depends_on` from tasks or environments, dependencies first; all without targets.

        `reader` reads the images, and may remember what it saw of files. Raises as `walk` does, and
        UnsupportedImageError for an image of the closure.
        """
        read = reader or Reader()
        return tuple(self._node(name, read) for name in self.walk(targets))

    def alone(self, target: str, reader: Reader) -> EnvironmentNode:
        """The environment that a target stands for, as if it depended on none; errors as in `needed`."""
        return replace(self._node(self._targets.environment(target), reader), depends_on=())

    def variables(self, name: str) -> dict[str, str]:
        """The variables that an environment's tasks get."""
        return dict(getattr(self.environments[name], "env_vars", None) or {})

    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that tasks ask for: the key, after its group if it has one."""
        asked = [secret for item in self.environments.values() for secret in sdk.secrets_of(item)]
        return tuple(dict.fromkeys("_".join(filter(None, (secret.group, secret.key))) for secret in asked))

    def open_bundles(self, names: Iterable[str]) -> Iterator[str]:
        """A sentence for each `with_code_bundle` in the images of these environments that no run has decided yet."""
        for name in names:
            for layer in sdk.open_bundles(self.environments[name].image):
                where = f" ({origin})" if (origin := origin_of(layer)) else ""
                yield (
                    f"`with_code_bundle`{where} adds nothing to the image of environment `{name}` here: only "
                    "`flyte run` and `flyte deploy` with `--copy-style none` put code into images, other runs bring it"
                )

    def task(self, target: str) -> TaskTemplate[..., Any, Any]:
        """The task that `environment.task` or a short name stands for; errors as in `needed`."""
        environment = self.environments[self._targets.environment(target)]
        tasks: dict[str, TaskTemplate[..., Any, Any]] = {
            task.name: task for task in getattr(environment, "tasks", {}).values()
        }
        for name, task in tasks.items():
            if target in (name, name.partition(".")[2]):
                return task
        raise UsageError(
            f"`{target}` is an environment, not a task",
            hint="its tasks: " + (", ".join(f"`{name}`" for name in tasks) or "none"),
        )

    def _node(self, name: str, reader: Reader) -> EnvironmentNode:
        environment = self.environments[name]
        return EnvironmentNode(
            name=name,
            file=environment._declaring_file,
            depends_on=tuple(item.name for item in environment.depends_on),
            tasks=tuple(_tasks(environment)),
            image=reader.define(environment.image, name, environment._declaring_file),
        )

    @cached_property
    def _targets(self) -> Targets:
        modules = {getattr(module, "__file__", None): name for name, module in list(sys.modules.items())}
        return Targets(item for environment in self.environments.values() for item in _candidates(environment, modules))


def _candidates(environment: flyte.Environment, modules: Mapping[str | None, str]) -> Iterator[Candidate]:
    """An environment and its tasks, by the names that people know them by; `modules` names modules by their files."""
    name, file = environment.name, environment._declaring_file
    here = Candidate(name, name, modules.get(file, ""), file or "")
    yield here
    for task in getattr(environment, "tasks", {}).values():
        function = getattr(task, "func", None)
        code = getattr(function, "__code__", None)
        if code is None:
            yield replace(here, name=task.name)
        else:
            yield Candidate(task.name, name, function.__module__ or "", code.co_filename)


def _tasks(environment: flyte.Environment) -> Iterable[str]:
    return (task.name for task in getattr(environment, "tasks", {}).values())


def _duplicate(one: flyte.Environment, other: flyte.Environment) -> DuplicateEnvironmentError:
    one_place, other_place = _place(one), _place(other)
    is_same = one_place == other_place
    where = f"twice in `{one_place}`" if is_same else f"in `{one_place}` and in `{other_place}`"
    return DuplicateEnvironmentError(
        f"Environment `{one.name}` is defined {where}",
        hint="give one of them another name; if they belong to separate workflows, name the file to plan",
    )


def _place(environment: flyte.Environment) -> str:
    return origin_of(environment) or _relative(environment._declaring_file)


def _relative(file: str | None) -> str:
    return relative(file) if file else "?"
