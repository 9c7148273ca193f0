"""What events are called where people read them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from flytebuild.cli.console import note
from flytebuild.events import ImageFinished, Notice, StepFinished


def step(event: StepFinished) -> Text:
    """A step that ended."""
    if event.cancelled:
        return Text(f"{event.name}: cancelled")
    if event.error:
        return Text(f"{event.name}: failed", "red")
    return Text(f"{event.name}: " + ("cached" if event.cached else f"{event.seconds:.1f} s"))


def result(event: ImageFinished) -> Text:
    """What became of an image."""
    whose = names(event.environments)
    if event.cancelled:
        return Text(f"{whose}: cancelled after {event.seconds:.1f} s")
    if event.error:
        return Text.assemble((f"{whose}: failed", "red"), f" after {event.seconds:.1f} s")
    if event.copied_from:
        return Text.assemble((f"{whose}: re-tagged", "green"), f" {event.reference} from {event.copied_from}")
    if event.written:
        return Text.assemble((f"{whose}: wrote", "green"), f" {event.written} in {event.seconds:.1f} s")
    return Text.assemble((f"{whose}: built", "green"), f" {event.reference} in {event.seconds:.1f} s")


def kind(event: ImageFinished) -> str:
    """What became of an image, in a word."""
    if event.cancelled or event.error:
        return "cancelled" if event.cancelled else "failed"
    return "re-tagged" if event.copied_from else "written" if event.written else "built"


def summary(results: Mapping[str, int], executed: int, cached: int, seconds: float) -> Text:
    """The whole of a build: how many images ended in which way, and what it took."""
    images = ", ".join(f"{count} {result}" for result, count in results.items())
    steps = "1 step" if executed == 1 else f"{executed} steps"
    return Text(f"{images} in {seconds:.1f} s ({steps} executed, {cached} cached)")


def notice(event: Notice) -> Text:
    """What the user should know."""
    return note(event.message)


def names(environments: tuple[str, ...]) -> str:
    """The environments that an image is for."""
    return ", ".join(environments)
