"""What library code reports while it works. Renderers subscribe; nothing below the command line prints.

`image` is an image's reference. A build emits, per image: `ImageStarted`, any number of step events, `ImageFinished`.
Steps are identified by the digest of their LLB vertex, so that a step shared by two images is recognisable as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

WHEEL_LAYERS = "wheel layers"
"""The `image` of steps that make layers of wheels before the images, of which there is no other event."""


class ImageStarted(Struct, frozen=True):
    """The solve of one image has been sent; `steps` are the layers that the plan expects to make, by their names."""

    image: str
    environments: tuple[str, ...]
    reference: str
    steps: tuple[str, ...]


class StepStarted(Struct, frozen=True):
    """BuildKit began to execute a step."""

    image: str
    step: str
    name: str


class StepFinished(Struct, frozen=True):
    """A step ended. `cached` means that nothing was executed; `seconds` is its time on the builder.

    A step that was stopped, by the user or since a step beside it failed, is `cancelled` and has no error. What `runs`
    is a command or a copy; anything else looks at a source, writes a small file for a command, puts layers on top of
    each other, or imports or exports, which happens in any case.
    """

    image: str
    step: str
    name: str
    cached: bool
    seconds: float
    error: str | None = None
    cancelled: bool = False
    runs: bool = True


class StepLog(Struct, frozen=True):
    """Whole lines that a step wrote, without their line ends."""

    image: str
    step: str
    name: str
    lines: tuple[str, ...]


class StepProgress(Struct, frozen=True):
    """Bytes moved by a step so far; `total` is 0 when it is not known."""

    image: str
    step: str
    name: str
    current: int
    total: int


class ImageFinished(Struct, frozen=True):
    """The image is published under `reference`, or `error` says in one sentence why not, or it was `cancelled`.

    One that was not built is the one that was there as `copied_from`. One that is not published is `written` to a file
    or a folder.
    """

    image: str
    environments: tuple[str, ...]
    reference: str
    manifest: str | None
    seconds: float
    error: str | None = None
    cancelled: bool = False
    copied_from: str | None = None
    written: str | None = None


class Looked(Struct, frozen=True):
    """So many things of a store were looked at, of so many; `what` they are, such as ``tags of `r.example/x```."""

    what: str
    current: int
    total: int


class Notice(Struct, frozen=True):
    """Something that stops nothing but that the user should know: one sentence without a full stop."""

    message: str


Event: TypeAlias = ImageStarted | StepStarted | StepFinished | StepLog | StepProgress | ImageFinished | Looked | Notice
Emit: TypeAlias = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Drop an event: the subscriber of those who do not want any."""
