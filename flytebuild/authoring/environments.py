"""From Flyte's environments to ours: names, edges, tasks, images."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import flyte
from msgspec import Struct
from msgspec.structs import replace

from flytebuild.authoring import sdk
from flytebuild.authoring.images import Reader
from flytebuild.authoring.site import origin_of, relative
from flytebuild.errors import (
    DefinitionError,
    DependencyCycleError,
    DuplicateEnvironmentError,
    PartialError,
    UnknownTargetError,
    UsageError,
)
from flytebuild.graph import EnvironmentNode, closure
from flytebuild.targets import Candidate, Targets

if TYPE_CHECKING:
    # Not when it runs: importing it takes longer than a whole plan.
    from flyte.extend import TaskTemplate

_NAMED = 3
"""So many things that cannot be used are named to who has not asked for them."""


class Definitions(Struct, frozen=True, dict=True):
    """Everything that the loaded code defines and that can be used, by environment name.

    `problems` say what cannot be: a file that fails to import, an environment whose name is taken. `left_out` are the
    environments that cannot be used for that, each with its reason.
    """

    environments: Mapping[str, flyte.Environment]
    problems: tuple[DefinitionError, ...] = ()
    left_out: tuple[tuple[flyte.Environment, DefinitionError], ...] = ()

    @classmethod
    def collect(cls, roots: Iterable[flyte.Environment]) -> Definitions:
        """The environments given and all that they depend on.

        Raises DuplicateEnvironmentError where two of them share a name.
        """
        found: dict[str, flyte.Environment] = {}
        for environment in reached_from(roots):
            other = found.setdefault(environment.name, environment)
            if other is not environment:
                raise duplicate(other, environment)
        return cls(found)

    def walk(self, targets: Sequence[str] = ()) -> tuple[str, ...]:
        """The names of the closure of `depends_on` from tasks or environments, dependencies first; all without targets.

        Linear in environments and edges. Raises DefinitionError where nothing is defined or something of what is asked
        for cannot be used, DependencyCycleError with the places of a cycle, and what `flytebuild.targets` raises for
        the targets.
        """
        if not targets:
            refuse(self.problems)
        self._refuse_nothing()
        try:
            return closure(self._edges, self._asked(targets) if targets else self._edges)
        except DependencyCycleError as error:
            raise self._located(error) from None

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

    def usable(self, reader: Reader) -> tuple[tuple[EnvironmentNode, ...], tuple[DefinitionError, ...]]:
        """Every environment that can be planned, dependencies first, and why others cannot; errors as in `walk`.

        Who depends on an environment that cannot be planned cannot be planned either.
        """
        self._refuse_nothing()
        problems = list(self.problems)
        nodes: dict[str, EnvironmentNode] = {}
        for name in self._without_cycles(problems):
            if all(item.name in nodes for item in self.environments[name].depends_on):
                try:
                    nodes[name] = self._node(name, reader)
                except DefinitionError as error:
                    problems.append(error)
        if not nodes:
            refuse(problems)
        return tuple(nodes.values()), tuple(problems)

    def omissions(self) -> Iterator[str]:
        """What cannot be used, in a few sentences, for who has asked for something else."""
        if len(self.problems) <= _NAMED:
            yield from (f"left out: {problem.message}" for problem in self.problems)
        else:
            yield f"left out: {len(self.problems)} files or environments that cannot be used; `flytebuild plan` has all"

    def alone(self, target: str, reader: Reader) -> EnvironmentNode:
        """The environment that a target stands for, as if it depended on none; errors as in `needed`."""
        return replace(self._node(self._one(target), reader), depends_on=())

    def variables(self, name: str) -> dict[str, str]:
        """The variables that an environment's tasks get."""
        return dict(getattr(self.environments[name], "env_vars", None) or {})

    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that tasks ask for: the key, after its group if it has one."""
        asked = [secret for item in self.environments.values() for secret in sdk.secrets_of(item)]
        return tuple(dict.fromkeys(map(sdk.secret_name, asked)))

    def secret_variables(self, name: str) -> dict[str, str]:
        """The variables in which an environment's tasks find secrets, with the names of these; files are left out."""
        asked = sdk.secrets_of(self.environments[name])
        return {item.as_env_var: sdk.secret_name(item) for item in asked if item.as_env_var}

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
        environment = self.environments[self._one(target)]
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

    def _refuse_nothing(self) -> None:
        if not self.environments and not self.problems:
            raise DefinitionError(
                "No Flyte environment is defined here",
                hint="give a Python file that defines a `flyte.TaskEnvironment`, or a folder with such files",
            )

    def _one(self, target: str) -> str:
        """The one environment of a target, which can be used."""
        self._asked([target])
        return self._targets.environment(target)

    def _asked(self, targets: Sequence[str]) -> tuple[str, ...]:
        """The environments of the targets, each of which can be used."""
        try:
            names = self._targets.environments(targets)
        except UnknownTargetError:
            # It may be in what cannot be read.
            refuse(self.problems)
            raise
        refused = {environment.name: error for environment, error in self.left_out}
        refuse(tuple(dict.fromkeys(refused[name] for name in names if name in refused)))
        return names

    def _without_cycles(self, problems: list[DefinitionError]) -> tuple[str, ...]:
        """All names, dependencies first, but for those in a cycle and those who depend on one."""
        edges = dict(self._edges)
        while True:
            try:
                return tuple(name for name in closure(edges, edges) if name in edges)
            except DependencyCycleError as error:
                problems.append(self._located(error))
                for name in error.cycle[:-1]:
                    del edges[name]

    def _located(self, error: DependencyCycleError) -> DependencyCycleError:
        return DependencyCycleError(error.cycle, {name: self.place(name) for name in error.cycle})

    @property
    def _edges(self) -> dict[str, list[str]]:
        return {name: [item.name for item in env.depends_on] for name, env in self.environments.items()}

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
        names = (*self.environments.values(), *(environment for environment, _ in self.left_out))
        return Targets(item for environment in names for item in _candidates(environment, modules))


def refuse(problems: Sequence[DefinitionError]) -> None:
    """Raise what cannot be used, if anything: one problem as it is, several as PartialError."""
    if problems:
        raise problems[0] if len(problems) == 1 else PartialError(problems)


def reached_from(roots: Iterable[flyte.Environment]) -> tuple[flyte.Environment, ...]:
    """Each environment once, however many depend on it: on layered graphs there are more ways than environments."""
    met = {id(environment): environment for environment in roots}
    pending = deque(met.values())
    while pending:
        for item in pending.popleft().depends_on:
            if id(item) not in met:
                met[id(item)] = item
                pending.append(item)
    return tuple(met.values())


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


def duplicate(one: flyte.Environment, other: flyte.Environment) -> DuplicateEnvironmentError:
    """The error for two environments of one name."""
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
