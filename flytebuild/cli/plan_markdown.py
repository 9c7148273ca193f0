"""A plan in Markdown, as summaries of CI jobs and comments on changes show it. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Sequence

from flytebuild.cli.plan_text import new_wheels, prospects, recipe, summary, verdict
from flytebuild.drawing.mermaid import mermaid
from flytebuild.plan import ImagePlan, LayerPlan, Plan
from flytebuild.plan.forecast import Forecast

_CODE = re.compile(r"((?<!`)`[^`]+`(?!`))")


def markdown(plan: Plan, forecast: Forecast | None = None) -> str:
    """A table of the images that there is something to do for; their layers, and all the rest, may be unfolded."""
    return "\n".join(_lines(plan, forecast))


def _lines(plan: Plan, forecast: Forecast | None) -> Iterator[str]:
    yield f"### {summary(plan)}"
    if forecast and forecast.images:
        yield from ("", _text(prospects(plan, forecast)))
    if not plan.images:
        return
    yield from _table(plan.to_do)
    new = new_wheels(plan)
    for image in plan.to_build:
        if image.layers:
            yield from _layers(image, new)
    others = [image for image in plan.images if not image.is_to_do]
    if others:
        count = "1 image" if len(others) == 1 else f"{len(others)} images"
        yield from ("", f"<details><summary>Nothing to do for {count}</summary>", *_table(others), "", "</details>")
    yield from ("", "<details><summary>Environments, images and layers</summary>", "", "```mermaid")
    yield from (mermaid(plan), "```", "", "</details>")


def _table(images: Sequence[ImagePlan]) -> Iterator[str]:
    """A row for each image: what becomes of it, and why; nothing of no image."""
    if images:
        yield from ("", "| | environments | image | |", "|---|---|---|---|")
    for image in images:
        sign, what, why = verdict(image)
        names = ", ".join(f"**{_text(name)}**" for name in image.environments)
        yield f"| `{sign}` | {names} | {_code(image.short)} | {_text(f'{what}: {why}' if why else what)} |"


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
    parts = _CODE.split(" ".join(text.split()))
    return "".join(_cell(part) if number % 2 else _plain(part) for number, part in enumerate(parts))


def _plain(text: str) -> str:
    line = html.escape(text, quote=False)
    for character in "\\*_|[]":
        line = line.replace(character, f"\\{character}")
    return line


def _code(text: str) -> str:
    return _cell(f"`{text}`")


def _cell(code: str) -> str:
    """Code, of which nothing but the bars of tables has a meaning."""
    return code.replace("|", "\\|")
