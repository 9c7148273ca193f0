"""What happened in a build and when, noted for a page about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flytebuild.events import Emit, Event, ImageFinished, ImageStarted, StepFinished

SCHEMA = "flytebuild.build-times/1"
_STEPS = 2000
"""So many steps are noted; what comes after them is counted."""


class Recording:
    """Passes events on, and notes images and steps with their seconds since the beginning.

    `clock` gives seconds since the epoch. A step that several images share is noted once, with the image that it ended
    in first.
    """

    def __init__(self, emit: Emit, clock: Callable[[], float] = time.time) -> None:
        self.started = clock()
        self._emit = emit
        self._clock = clock
        self._images: dict[str, dict[str, Any]] = {}
        self._steps: dict[str, dict[str, Any]] = {}
        self._left_out = 0

    def __call__(self, event: Event) -> None:
        """Note an event, and pass it on."""
        match event:
            case ImageStarted():
                names = {"reference": event.reference, "environments": list(event.environments)}
                self._images[event.image] = {**names, "begin": self._now(), "end": None, "error": None}
            case ImageFinished() if event.image in self._images:
                error = "cancelled" if event.cancelled else event.error
                self._images[event.image] |= {"end": self._now(), "error": error}
            case StepFinished() if event.step not in self._steps:
                self._note(event)
        self._emit(event)

    @property
    def is_empty(self) -> bool:
        """Whether no image was begun."""
        return not self._images

    def document(self) -> dict[str, Any]:
        """Everything that was noted, as JSON values."""
        return {
            "schema": SCHEMA,
            "seconds": self._now(),
            "images": list(self._images.values()),
            "steps": list(self._steps.values()),
            "left_out": self._left_out,
        }

    def _note(self, event: StepFinished) -> None:
        if len(self._steps) >= _STEPS:
            self._left_out += 1
            return
        end = self._now()
        image = self._images.get(event.image, {}).get("reference", event.image)
        error = "cancelled" if event.cancelled else event.error
        times = {"begin": max(end - event.seconds, 0.0), "end": end}
        self._steps[event.step] = {"image": image, "name": event.name, **times, "cached": event.cached, "error": error}

    def _now(self) -> float:
        return round(self._clock() - self.started, 3)
