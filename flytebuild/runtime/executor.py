"""The seam to what runs containers: what it is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from flytebuild.runtime.container import Order
from flytebuild.runtime.verdict import Exit


class StartError(Exception):
    """Raised when a container cannot be started; `code` is the failure's, as Flyte names it."""

    def __init__(self, code: str, message: str, *, is_system: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.is_system = is_system


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that runs: its container's identifier, the digest of its image, and which of several in it it is."""

    container: str
    image_id: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A container of ours that is on the engine, whoever started it; `has_run` is false for one never started."""

    started: Started
    run: str
    action: str
    attempt: int
    has_run: bool


Tell: TypeAlias = Callable[[str], None]
"""Told how far the pull of an image is, in a few words, again and again, and nothing when it is there."""


def tell_nobody(_words: str) -> None:
    """Whom to tell where nobody asks."""


class Executor(Protocol):
    """What runs containers."""

    async def start(
        self, order: Order, log_file: Path, turn: AbstractAsyncContextManager[object], tell: Tell
    ) -> Started:
        """Create and start one; raises StartError. The image is there before it takes its `turn`.

        When it is cancelled, it ends when nothing is left of the container.
        """

    async def wait(self, started: Started) -> Exit:
        """Wait for its end, which always comes; its log is as complete then as it will be."""

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        """A tar archive of a folder of one that has ended, to be read in a thread.

        Raises FileNotFoundError when there is no such folder, OSError when the engine does not answer; reading it does.
        """

    async def remove(self, started: Started) -> None:
        """Remove it, killing it when it still runs."""


class Survivors(Protocol):
    """What still has the containers of a control plane that was killed."""

    async def found(self) -> tuple[Survivor, ...]:
        """All containers of this control plane's folder; raises StartError when the engine does not answer."""

    def attach(self, started: Started, log_file: Path) -> None:
        """Watch a container as if this executor had started it; its log is followed on."""
