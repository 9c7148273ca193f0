"""Where a build stands: what every view of it shows, counted from its events.

A step that several images share is one step; bytes are those that steps say they have moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import Struct

from flytebuild.events import WHEEL_LAYERS, Event, ImageFinished, ImageStarted, StepFinished, StepProgress, StepStarted

Clock: TypeAlias = Callable[[], float]
Expected: TypeAlias = Callable[[str], "float | None"]
"""How many seconds a step of this name took before, or None when that is not known."""


def nothing_known(_name: str) -> None:
    """What is expected where nothing was recorded."""


class Running(Struct, frozen=True):
    """A step that runs: its name, and when it began."""

    name: str
    since: float


@dataclass
class Image:
    """An image that is being built; `pending` are the layers that it waits for, by the names of their steps.

    `cached` counts those of its layers that were there and need not be made. Where no step of it runs, it waits for
    what others do, `idle_since` its last step ended.
    """

    environments: tuple[str, ...]
    since: float
    total: int
    pending: list[str]
    running: dict[str, Running] = field(default_factory=dict)
    cached: int = 0
    idle_since: float = 0.0
    moved: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes moved by the steps that run, and how many they will be (0 while that is not known)."""
        running = [pair for (step, _), pair in list(self.moved.items()) if step in self.running]
        return sum(current for current, _ in running), sum(total for _, total in running)

    def finish(self, step: str, name: str, now: float, *, cached: bool) -> None:
        """A step has ended."""
        self.running.pop(step, None)
        self.idle_since = now
        if name in self.pending:
            self.pending.remove(name)
            self.cached += cached

    def seconds_left(self, now: float, expected: Expected) -> float | None:
        """What the pending layers took before, one after the other; None when that of one is not known."""
        since = {running.name: running.since for running in list(self.running.values())}
        left = 0.0
        for name in list(self.pending):
            seconds = expected(name)
            if seconds is None:
                return None
            left += max(seconds - (now - since[name] if name in since else 0), 0)
        return left


@dataclass
class Tally:
    """Takes a build's events. `images` are those under way, `ended` counts the others; steps are vertices' digests.

    `wheels` are the steps that run of wheel layers, which come before the images. Of all that ends, `executed` and
    `cached` have the commands and copies: what was executed before the images is there for them.
    """

    clock: Clock
    expected: Expected = nothing_known
    images: dict[str, Image] = field(default_factory=dict)
    ended: int = 0
    wheels: dict[str, Running] = field(default_factory=dict)
    executed: set[str] = field(default_factory=set)
    cached: set[str] = field(default_factory=set)

    def take(self, event: Event) -> None:
        """Count an event in."""
        match event:
            case ImageStarted():
                self.wheels.clear()
                steps = list(event.steps)
                now = self.clock()
                self.images[event.image] = Image(event.environments, now, len(steps), steps, idle_since=now)
            case ImageFinished():
                self.images.pop(event.image, None)
                self.ended += 1
            case StepStarted() if event.image == WHEEL_LAYERS:
                self.wheels[event.step] = Running(event.name, self.clock())
            case StepFinished() if event.image == WHEEL_LAYERS:
                self.wheels.pop(event.step, None)
                self._count(event)
            case StepStarted() if image := self.images.get(event.image):
                image.running[event.step] = Running(event.name, self.clock())
            case StepFinished() if image := self.images.get(event.image):
                image.finish(event.step, event.name, self.clock(), cached=event.cached)
                self._count(event)
            case StepProgress() if image := self.images.get(event.image):
                image.moved[event.step, event.name] = (event.current, event.total)

    def _count(self, event: StepFinished) -> None:
        if event.runs and not event.cached:
            self.executed.add(event.step)
            self.cached.discard(event.step)
        elif event.runs and event.step not in self.executed:
            self.cached.add(event.step)

    def running(self) -> Iterator[tuple[Running, tuple[str, ...]]]:
        """Each step that runs once, with the environments that wait for it."""
        found: dict[tuple[str, str], tuple[Running, list[str]]] = {
            (step, running.name): (running, [WHEEL_LAYERS]) for step, running in self.wheels.items()
        }
        for image in self.images.values():
            for step, running in image.running.items():
                found.setdefault((step, running.name), (running, []))[1].extend(image.environments)
        return ((running, tuple(names)) for running, names in found.values())

    def waiting(self) -> Iterator[Image]:
        """The images of which no step runs."""
        return (image for image in self.images.values() if not image.running)

    def seconds_left(self) -> float | None:
        """Until the last of the images under way is there, by what its layers took before; None when not known."""
        now, left = self.clock(), 0.0
        for image in list(self.images.values()):
            seconds = image.seconds_left(now, self.expected)
            if seconds is None:
                return None
            left = max(left, seconds)
        return left or None
