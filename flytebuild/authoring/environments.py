"""From Flyte's environments to ours: names, edges, tasks, images."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flyte

from flytebuild.authoring import sdk
from flytebuild.authoring.images import Reader
from flytebuild.authoring.site import origin_of
from flytebuild.errors import DefinitionError, DuplicateEnvironmentError, UnknownTargetError, UsageError
from flytebuild.graph import EnvironmentNode, closure

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
        pending = list(roots)
        while pending:
            environment = pending.pop(0)
            other = found.setdefault(environment.name, environment)
            if other is not environment:
                raise _duplicate(other, environment)
            pending.extend(item for item in environment.depends_on if found.get(item.name) is not item)
        return cls(found)

    def needed(self, targets: Sequence[str] = (), reader: Reader | None = None) -> tuple[EnvironmentNode, ...]:
        """The closure of `depends_on` from tasks or environments, dependencies first; all without targets.

        `reader` reads the images, and may remember what it saw of files.

        Raises DefinitionError where nothing is defined, UnknownTargetError, UsageError where a task's short name is
        ambiguous, DependencyCycleError, and UnsupportedImageError for an image of the closure.
        """
        if not self.environments:
            raise DefinitionError(
                "No Flyte environment is defined here",
                hint="give a Python file that defines a `flyte.TaskEnvironment`, or a folder with such files",
            )
        edges = {name: [item.name for item in env.depends_on] for name, env in self.environments.items()}
        roots = [self._environment_of(target) for target in targets] if targets else list(self.environments)
        read = reader or Reader()
        return tuple(self._node(name, read) for name in closure(edges, roots))

    def alone(self, target: str, reader: Reader) -> EnvironmentNode:
        """The environment that a target stands for, as if it depended on none; errors as in `needed`."""
        return replace(self._node(self._environment_of(target), reader), depends_on=())

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
        environment = self.environments[self._environment_of(target)]
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

    def _environment_of(self, target: str) -> str:
        """The environment that a target names: itself, `environment.task`, or a task's short name."""
        if target in self.environments:
            return target
        owners = {task: name for name, env in self.environments.items() for task in _tasks(env)}
        if target in owners:
            return owners[target]
        matches = [task for task in owners if task.partition(".")[2] == target]
        if len(matches) > 1:
            raise UsageError(
                f"`{target}` is a task of several environments",
                hint="use one of " + ", ".join(f"`{match}`" for match in sorted(matches)),
            )
        if matches:
            return owners[matches[0]]
        short = [task.partition(".")[2] for task in owners]
        nearest = difflib.get_close_matches(target, [*short, *self.environments, *owners], 1)
        raise UnknownTargetError(target, closest=nearest[0] if nearest else None, known=sorted(owners))


def _tasks(environment: flyte.Environment) -> Iterable[str]:
    return (task.name for task in getattr(environment, "tasks", {}).values())


def _duplicate(one: flyte.Environment, other: flyte.Environment) -> DuplicateEnvironmentError:
    files = [_relative(env._declaring_file) for env in (one, other)]
    where = f"twice in `{files[0]}`" if files[0] == files[1] else f"in `{files[0]}` and in `{files[1]}`"
    return DuplicateEnvironmentError(
        f"Environment `{one.name}` is defined {where}",
        hint="give one of them another name; if they belong to separate workflows, name the file to plan",
    )


def _relative(file: str | None) -> str:
    if file is None:
        return "?"
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
