"""What of the loaded code can be used: an environment that cannot be does not hide the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import flyte

from flytebuild.authoring.environments import Definitions, duplicate, reached_from
from flytebuild.errors import DefinitionError


def gather(
    defined: Iterable[flyte.Environment],
    failed: Mapping[str, DefinitionError],
    refuse: Callable[[flyte.Environment], None] | None = None,
) -> Definitions:
    """The environments given and all that they depend on, but for those that cannot be used and who depends on them.

    `failed` are files that could not be imported, with the error of each, which several may share; `refuse` raises
    DefinitionError for an environment that cannot be used. Of two environments with one name the first counts.
    """
    kept: dict[str, flyte.Environment] = {}
    errors: dict[int, DefinitionError] = {}
    problems = list(dict.fromkeys(failed.values()))
    reached = reached_from(defined)
    for environment in reached:
        error = failed.get(environment._declaring_file or "")
        if error is None and (error := _problem(environment, kept, refuse)):
            problems.append(error)
        if error:
            errors[id(environment)] = error
        else:
            kept[environment.name] = environment
    _spread(reached, errors)
    usable = {name: environment for name, environment in kept.items() if id(environment) not in errors}
    left_out = tuple((item, errors[id(item)]) for item in reached if id(item) in errors)
    return Definitions(usable, tuple(problems), left_out)


def _problem(
    environment: flyte.Environment,
    kept: Mapping[str, flyte.Environment],
    refuse: Callable[[flyte.Environment], None] | None,
) -> DefinitionError | None:
    if other := kept.get(environment.name):
        return duplicate(other, environment)
    try:
        if refuse:
            refuse(environment)
    except DefinitionError as error:
        return error
    return None


def _spread(reached: Iterable[flyte.Environment], errors: dict[int, DefinitionError]) -> None:
    """Give whoever depends on an environment with an error the same one."""
    users: dict[int, list[int]] = {}
    for environment in reached:
        for item in environment.depends_on:
            users.setdefault(id(item), []).append(id(environment))
    pending = list(errors)
    while pending:
        broken = pending.pop()
        for user in users.get(broken, ()):
            if user not in errors:
                errors[user] = errors[broken]
                pending.append(user)
