"""A plan in Markdown, as summaries of CI jobs and comments on changes show it. Pure."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator

from flytebuild.cli.plan_text import new_wheels, prospects, recipe, summary, verdict
from flytebuild.drawing.mermaid import mermaid
from flytebuild.plan import Forecast, ImagePlan, LayerPlan, Plan

_ORDER = ("missing", "unknown", "present", "external")


def markdown(plan: Plan, forecast: Forecast | None = None) -> str:
    """A table of the images, those to be built first; their layers and a drawing may be unfolded below."""
    return "\n".join(_lines(plan, forecast))


def _lines(plan: Plan, forecast: Forecast | None) -> Iterator[str]:
    yield f"### {summary(plan)}"
    if forecast and forecast.images:
        yield from ("", _text(prospects(plan, forecast)))
    if not plan.images:
        return
    yield from ("", "| | environments | image | |", "|---|---|---|---|")
    images = sorted(plan.images, key=lambda image: _ORDER.index(image.status))
    for image in images:
        sign, what, why = verdict(image)
        names = ", ".join(f"**{_text(name)}**" for name in image.environments)
        yield f"| `{sign}` | {names} | {_code(image.short)} | {_text(f'{what}: {why}' if why else what)} |"
    new = new_wheels(plan)
    for image in images:
        if image.must_be_built and image.layers:
            yield from _layers(image, new)
    yield from ("", "<details><summary>Environments, images and layers</summary>", "", "```mermaid")
    yield from (mermaid(plan), "```", "", "</details>")


def _layers(image: ImagePlan, new: Collection[str]) -> Iterator[str]:
    names = html.escape(", ".join(image.environments))
    yield from ("", f"<details><summary>The layers of {names}</summary>", "", _code(image.reference), "")
    for layer in image.layers:
        yield _layer(layer, "" if layer.reason == image.reason else layer.reason, recipe(layer, new))
    yield from ("", "</details>")


def _layer(layer: LayerPlan, reason: str, how: str) -> str:
    sign = {"present": "=", "missing": "+", "unknown": "?"}[layer.status]
    notes = "; ".join(filter(None, (reason, how)))
    return f"- `{sign}` {_text(layer.summary)}" + (f" ({_text(notes)})" if notes else "")


def _text(text: str) -> str:
    """Words of others, which are no markup: of ours, what is between backticks stays code."""
    line = html.escape(" ".join(text.split()), quote=False)
    for character in "\\*_|[]":
        line = line.replace(character, f"\\{character}")
    return line


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")
