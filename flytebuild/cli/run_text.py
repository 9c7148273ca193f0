"""A run as text: a line for each change of an action, and why the run failed. Pure; reads `flytebuild.run/1`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from msgspec import Struct
from rich.text import Text

Action: TypeAlias = Mapping[str, Any]

ENDED = frozenset({"SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"})
_FAILED = frozenset({"FAILED", "TIMED_OUT"})
_STYLES = {"SUCCEEDED": "green", "FAILED": "red", "ABORTED": "red", "TIMED_OUT": "red"}
_WORDS = {"FAILED": "failed", "ABORTED": "was aborted", "TIMED_OUT": "timed out"}
_SUMMARY_WIDTH = 120
_MESSAGE_LINES = 30
_FRAMES = 8

_OUR_TAG = re.compile(r":b3-([0-9a-f]{12})[0-9a-f]{20}$")
_TASK_FAILED = "Task failed with error:"
"""What the SDK writes into the log before the traceback of a task's exception."""
_IMPORT_FAILED = "Full traceback:"
_TRACEBACK = "Traceback (most recent call last):"
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)')
_LIBRARIES = ("/site-packages/", "/dist-packages/", "/lib/python3", "<frozen ", "<string>")


@dataclass
class RunLines:
    """What there is to tell of a run's actions, and what has been told already."""

    _phases: dict[str, str] = field(default_factory=dict)
    _failed_attempts: dict[str, int] = field(default_factory=dict)
    _environments: set[str] = field(default_factory=set)
    _pulling: set[str] = field(default_factory=set)

    def take(self, actions: Sequence[Action]) -> Iterator[Text]:
        """A line for every action whose phase is news, and for every attempt of it that failed.

        What a task called is indented below it. An environment's image is told when its first task runs.
        """
        names = _indented(actions)
        for action in actions:
            yield from self._attempts(action, names[action["name"]])
            yield from self._pull(action)
            phase = action["phase"]
            if phase == self._phases.get(action["name"]) or phase not in ENDED | {"RUNNING"}:
                continue
            self._phases[action["name"]] = phase
            yield from self._image(action)
            line = _line(phase.lower().replace("_", " "), names[action["name"]], _STYLES.get(phase, ""))
            if phase in _FAILED and action.get("error") and cause(action, actions) is action:
                line.append(f"  {summary(action['error'])}")
            if phase in ENDED and action.get("started") and action.get("ended"):
                line.append(f"  {_seconds(action['started'], action['ended']):.1f} s", "dim")
            if phase == "SUCCEEDED" and action.get("cached_from"):
                line.append("  from the cache", "dim")
            yield line

    def _attempts(self, action: Action, name: str) -> Iterator[Text]:
        """A line for each attempt that failed and was, or is, followed by another one."""
        newest = action.get("attempt") or 0
        # Between two attempts the newest one is the one that failed, and its error is there.
        is_between = action["phase"] not in ENDED | {"RUNNING"} and action.get("error")
        count = newest if is_between else newest - 1
        for number in range(self._failed_attempts.get(action["name"], 0) + 1, count + 1):
            self._failed_attempts[action["name"]] = number
            error = _attempt_error(action, number) or (action["error"] if is_between and number == newest else None)
            why = f" ({summary(error)})" if error else ""
            yield _line("retrying", name, "yellow").append(f"  attempt {number} failed{why}, trying again")

    def _pull(self, action: Action) -> Iterator[Text]:
        """A line for the image that an environment's first task waits for; an engine has it afterwards."""
        environment = action.get("environment")
        is_pulled = action["phase"] == "INITIALIZING" and action.get("waiting_for")
        if is_pulled and environment and environment not in self._pulling:
            self._pulling.add(environment)
            yield Text(f"  {environment} waits for image {short_image(action['image'])}, which is pulled", "dim")

    def _image(self, action: Action) -> Iterator[Text]:
        environment, image = action.get("environment"), action.get("image")
        if environment and image and environment not in self._environments:
            self._environments.add(environment)
            yield Text(f"  {environment} runs in image {short_image(image)}", "dim")


class Failed(Struct, frozen=True):
    """Why a run did not succeed: a sentence, the lines of the task's error below it, and the action they are about."""

    message: str
    details: str
    action: str


def failed(document: Mapping[str, Any], log: str = "") -> Failed:
    """What to say of a run that has ended in anything but success; `log` is that of the action that failed."""
    actions: Sequence[Action] = document["actions"]
    action = culprit(actions)
    message = f"Run `{document['run']}` {_WORDS.get(document['phase'], document['phase'].lower())}"
    error = action.get("error")
    if not error:
        return Failed(message, "", action["name"])
    if document["phase"] in _FAILED:
        message += f" in `{action.get('task') or action['name']}`{_number(labels(actions)[action['name']])}"
        if (action.get("attempt") or 0) > 1:
            message += f", attempt {action['attempt']}"
    lines = [*frames(log), *_rest(error)]
    details = "\n".join(f"  {line}" for line in lines)
    return Failed(f"{message}: {summary(error)}", details, action["name"])


def next_step(action: Action, run: str, url: str) -> str:
    """Where to look at an action that failed; where no container ran, there are no logs, and a shell has no use."""
    if not action.get("started"):
        return f"its container never ran; the run's page is {url}"
    return f"its logs are at {url}; `flytebuild rerun --shell {run}` opens a shell where it failed"


def culprit(actions: Sequence[Action]) -> Action:
    """The action whose error the run ended with: the root's, or where it came from."""
    root = next(item for item in actions if not item.get("parent"))
    return cause(root, actions)


def cause(action: Action, actions: Sequence[Action]) -> Action:
    """Where an action's error was raised: in itself, or in the first failed child that has the same one, and so on.

    A child's error that its parent caught and answered with another one is not the parent's.
    """
    while error := action.get("error"):
        children = [item for item in actions if item.get("parent") == action["name"] and item["phase"] in _FAILED]
        same = [item for item in children if item.get("error") and _is_passed_on(item["error"], error)]
        if not same:
            break
        action = min(same, key=lambda item: item.get("ended") or "")
    return action


def frames(log: str) -> tuple[str, ...]:
    """The user's own frames of the traceback that a task's log ends with: `file.py:3 in function`, and the code."""
    text = log.rpartition(_TASK_FAILED)[2].rpartition(_TRACEBACK)[2]
    lines = text.splitlines()
    found: list[tuple[str, ...]] = []
    for number, line in enumerate(lines):
        match = _FRAME.match(line)
        if match and not any(part in match["file"] for part in _LIBRARIES):
            # Code comes into a container below its working directory, which the path says with a dot.
            file = match["file"].rpartition("/./")[2]
            code = lines[number + 1 : number + 2]
            shown = [f"  {item.strip()}" for item in code if item.startswith("    ")]
            found.append((f"{file}:{match['line']} in {match['name']}", *shown))
    return tuple(line for frame in found[-_FRAMES:] for line in frame)


def labels(actions: Iterable[Action]) -> dict[str, str]:
    """What each action is called: its task, and `#1`, `#2` … in the order in which a task was called."""
    counts: Counter[str] = Counter()
    found = {}
    for action in actions:
        task = action.get("task") or action["name"]
        counts[task] += 1
        found[action["name"]] = f"{task} #{counts[task]}" if action.get("parent") else task
    return found


def _indented(actions: Sequence[Action]) -> dict[str, str]:
    """What each action is called, further to the right the deeper it is."""
    parents = {action["name"]: action.get("parent") for action in actions}
    found = {}
    for name, label in labels(actions).items():
        depth, parent = 0, parents[name]
        while parent in parents:
            depth, parent = depth + 1, parents[parent]
        found[name] = "  " * depth + label
    return found


def summary(error: Mapping[str, Any]) -> str:
    """An error in at most one line: its type, and what it says first."""
    code, message = str(error.get("code") or ""), str(error.get("message") or "")
    first, _, rest = message.strip().partition("\n")
    if first == _IMPORT_FAILED:
        # The SDK's words for a module that cannot be imported begin with the traceback; what it ends with is the error.
        first = next((line for line in rest.splitlines() if line.startswith(f"{code}:")), first)
    first = first.removesuffix("; the end of its log:")
    text = first if first.startswith(f"{code}:") or not code else f"{code}: {first}" if first else code
    if len(text) > _SUMMARY_WIDTH:
        return f"{text[: _SUMMARY_WIDTH - 1]}…"
    return f"{text} …" if rest else text


def short_image(reference: str) -> str:
    """How the plan calls an image: twelve digits of its digest, or its name where it is not ours."""
    match = _OUR_TAG.search(reference)
    return match[1] if match else reference


def _line(word: str, name: str, style: str) -> Text:
    return Text.assemble("  ", (f"{word:<10}", style), f" {name}")


def _number(label: str) -> str:
    _, sign, number = label.rpartition(" #")
    return f" #{number}" if sign else ""


def _rest(error: Mapping[str, Any]) -> list[str]:
    """The lines of an error's message, where it has more than the summary shows."""
    lines = str(error.get("message") or "").strip().splitlines()
    return lines[-_MESSAGE_LINES:] if summary(error).endswith("…") or len(lines) > 1 else []


def _attempt_error(action: Action, number: int) -> Mapping[str, Any] | None:
    found = (item.get("error") for item in action.get("attempts") or () if item.get("number") == number)
    return next(found, None)


def _is_passed_on(child: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    """Whether a parent's error is its child's, perhaps with words around it."""
    said = str(child.get("message") or "").strip()
    if not said:
        return child.get("code") == parent.get("code") and not parent.get("message")
    return said in str(parent.get("message") or "")


def _seconds(started: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
