"""The events of one image, however many attempts it takes."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from flytebuild.events import Emit, Event, ImageFinished, ImageStarted


@dataclass
class Once:
    """Passes events on as those of one build: one start, and the end of the last attempt when `end` is called."""

    emit: Emit
    _started: bool = False
    _last: ImageFinished | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case ImageStarted():
                if not self._started:
                    self._started = True
                    self.emit(event)
            case ImageFinished(cancelled=True):
                # Nobody comes back to tell it later.
                self.emit(self._whole(event))
            case ImageFinished():
                self._last = self._whole(event)
            case _:
                self.emit(event)

    def end(self) -> None:
        """Tell how it ended."""
        if self._last:
            self.emit(self._last)

    def _whole(self, event: ImageFinished) -> ImageFinished:
        before = self._last.seconds if self._last else 0.0
        return replace(event, seconds=before + event.seconds)
