"""Rule `depends-on`: whoever calls a task of another environment must depend on that environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flytebuild.check.calls import Call, Reading
from flytebuild.check.finding import Finding, Level, split_place
from flytebuild.check.subject import Subject

RULE = "depends-on"


def examine(subjects: Sequence[Subject], readings: Mapping[str, Sequence[tuple[str, Reading]]]) -> Iterator[Finding]:
    """A finding for each environment that another one calls and does not depend on, at the first call.

    And one for each task whose code could not be read.

    `readings` has what the tasks of each do, by their names.
    """
    edges = {subject.name: subject.depends_on for subject in subjects}
    for subject in subjects:
        declared = _reachable(subject.name, edges)
        told: dict[str, tuple[str, Call]] = {}
        for name, reading in readings.get(subject.name, ()):
            if reading.unreadable:
                yield _unreadable(subject, name, reading.unreadable)
            for call in reading.calls:
                other = call.task.environment
                if other in declared:
                    continue
                # A certain call counts more than one that may be none.
                if other not in told or (told[other][1].doubt and not call.doubt):
                    told[other] = (name, call)
        for other, (caller, call) in told.items():
            starts = [name for name in edges if {subject.name, other} <= _reachable(name, edges)]
            yield _finding(subject, caller, other, call, starts, is_cycle=subject.name in _reachable(other, edges))


def _finding(
    subject: Subject, caller: str, other: str, call: Call, starts: Sequence[str], *, is_cycle: bool
) -> Finding:
    """`starts` are environments whose runs have both images all the same; one more edge might make a cycle."""
    through = f", through {' and '.join(f'`{name}`' for name in call.through)}," if call.through else ""
    where = f" ({subject.origin})" if subject.origin else ""
    message = f"`{caller}`{through} calls `{call.task.name}`, and `{subject.name}` does not depend on `{other}`"
    hint = f"add `{other}` to `depends_on` of `{subject.name}`{where}"
    if is_cycle:
        hint = (
            f"`{other}` depends on `{subject.name}` already, and a cycle is refused: "
            f"let `{caller}` be of an environment of its own that depends on both"
        )
    level: Level = "error"
    if call.doubt:
        level = "unknown"
        message = f"`{caller}`{through} may call `{call.task.name}` without `depends_on`: {call.doubt}"
        hint = f"if it does, `{subject.name}`{where} must depend on `{other}`"
    elif not call.task.is_built:
        level, message = "advice", f"{message}; that works, since the image of `{other}` is used as it is"
    elif starts:
        level, message = "advice", f"{message}; that works only in runs that begin in {_listed(starts)}"
    return Finding(RULE, level, message, subject.name, call.file, call.line, hint)


def _unreadable(subject: Subject, caller: str, functions: Sequence[str]) -> Finding:
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(functions))
    message = f"What `{caller}` calls is not known, since the code of {names} cannot be read"
    file, line = split_place(subject.origin)
    return Finding(RULE, "unknown", message, subject.name, file, line)


def _listed(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names[:3]) + (" or others" if len(names) > 3 else "")


def _reachable(name: str, edges: Mapping[str, Sequence[str]]) -> set[str]:
    found, pending = {name}, [name]
    while pending:
        for other in edges.get(pending.pop(), ()):
            if other not in found:
                found.add(other)
                pending.append(other)
    return found
