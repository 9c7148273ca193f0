"""What `--for` may say: names of environments and tasks, patterns, and `module:name`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from flytebuild.errors import UnknownTargetError, UsageError

_WILD = frozenset("*?[")


class Candidate(Struct, frozen=True):
    """An environment, or one of its tasks (`name` is `environment.task` then), and where it is written."""

    name: str
    environment: str
    module: str = ""
    file: str = ""

    @property
    def is_task(self) -> bool:
        return self.name != self.environment

    @property
    def short(self) -> str:
        """A task's name without its environment's."""
        return self.name.removeprefix(f"{self.environment}.")


class Targets:
    """Everything that may be asked for, in the user's order."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates = tuple(candidates)
        self._environments = {item.name for item in self._candidates if not item.is_task}
        self._tasks = {item.name: item.environment for item in self._candidates if item.is_task}
        self._by_short: dict[str, list[str]] = {}
        for item in self._candidates:
            if item.is_task:
                self._by_short.setdefault(item.short, []).append(item.name)

    @property
    def names(self) -> tuple[str, ...]:
        """Environments, tasks, and the short names of tasks that only one environment has."""
        alone = [short for short, found in self._by_short.items() if len(found) == 1]
        return tuple(dict.fromkeys((*(item.name for item in self._candidates), *alone)))

    def environments(self, targets: Sequence[str]) -> tuple[str, ...]:
        """The environments of all targets, each once, in the targets' order.

        Raises UnknownTargetError for what names nothing, UsageError where a task's short name is ambiguous.
        """
        return tuple(dict.fromkeys(name for target in targets for name in self._of(target)))

    def environment(self, target: str) -> str:
        """The one environment of a target; errors as in `environments`, and UsageError where it has several."""
        found = self.environments([target])
        if len(found) > 1:
            raise UsageError(f"`{target}` stands for several environments", hint=_one_of(found))
        return found[0]

    def _of(self, target: str) -> Iterator[str]:
        if target in self._environments:
            yield target
        elif target in self._tasks:
            yield self._tasks[target]
        elif not _WILD.isdisjoint(target) or ":" in target:
            module, _, pattern = target.rpartition(":")
            found = [item.environment for item in self._candidates if _is_meant(item, module, pattern)]
            if not found:
                raise UnknownTargetError(target, closest=None, known=self._known())
            yield from found
        else:
            yield self._tasks[self._task_called(target)]

    def _task_called(self, short: str) -> str:
        matches = self._by_short.get(short, [])
        if len(matches) > 1:
            raise UsageError(f"`{short}` is a task of several environments", hint=_one_of(sorted(matches)))
        if not matches:
            if short.endswith(".py"):
                raise UsageError(
                    f"`{short}` is a file, and neither a task nor an environment",
                    hint=f"`{short}:NAME` is a task or an environment in it, and `{short}:*` all of them",
                )
            import difflib

            nearest = difflib.get_close_matches(short, [*self._by_short, *self._environments, *self._tasks], 1)
            raise UnknownTargetError(short, closest=nearest[0] if nearest else None, known=self._known())
        return matches[0]

    def _known(self) -> list[str]:
        """What tells somebody best what there is: all tasks, and the environments that have none, such as apps."""
        return sorted({*self._tasks, *self._environments.difference(self._tasks.values())})


def _is_meant(item: Candidate, module: str, pattern: str) -> bool:
    """Whether a pattern, within a module if one is named (`fold.run`, or `fold/run.py`), stands for a candidate."""
    if module.endswith(".py"):
        is_there = f"/{item.file}".endswith(f"/{module.removeprefix('./')}")
    else:
        is_there = not module or f".{item.module}".endswith(f".{module}")
    return is_there and any(fnmatchcase(name, pattern) for name in (item.name, item.short))


def _one_of(names: Sequence[str]) -> str:
    return "use one of " + ", ".join(f"`{name}`" for name in names)
