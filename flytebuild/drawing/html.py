"""A plan as one page of HTML: the environments as a map, the layers as trees. Needs nothing else, not even a script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import TypeAlias

from flytebuild.amounts import size
from flytebuild.drawing.critical import MARK, Critical, critical
from flytebuild.drawing.forest import Node, bare, forest
from flytebuild.drawing.svg import environments_map
from flytebuild.plan import ImagePlan, LayerPlan, Plan, Status
from flytebuild.plan.durations import seconds_anew
from flytebuild.plan.experience import Experience

_SIGNS: dict[Status, str] = {"present": "=", "missing": "+", "unknown": "?", "external": "~"}
_WORDS: dict[Status, str] = {
    "present": "present",
    "missing": "to be built",
    "unknown": "could not be found out",
    "external": "named by the user, used as it is",
}

Facts: TypeAlias = Callable[[LayerPlan], Iterable[str]]
"""What is said of a layer at the end of its line."""


def html(plan: Plan, summary: str, experience: Experience, *, back: tuple[str, str] | None = None) -> str:
    """The page. `summary` is the plan in one line; layers say what they took when they were made last.

    `back` is where the reader came from, as a path and its name.
    """
    path = critical(plan, experience)
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{escape(summary)}</title><style>{stylesheet()}</style></head><body><main>",
            *([f'<p><a href="{escape(back[0])}">{escape(back[1])}</a></p>'] if back else []),
            f"<h1>{escape(summary)}</h1>",
            *_keys(plan, path),
            "<h2>Environments</h2>",
            environments_map(plan),
            "<h2>Layers and images</h2>",
            *_trees(plan, _facts(plan, experience, path)),
            *_wheel_layers(plan, experience),
            "</main></body></html>",
        )
    )


def stylesheet() -> str:
    """What is in the page's style element, for a policy that allows nothing else."""
    return files("flytebuild.drawing").joinpath("page.css").read_text(encoding="utf-8")


def _keys(plan: Plan, path: Critical) -> Iterator[str]:
    used = {image.status for image in plan.images} | {layer.status for image in plan.images for layer in image.layers}
    yield '<ul class="keys">'
    for status, words in _WORDS.items():
        if status in used:
            yield f'<li>{_sign(status)} <span class="quiet">{words}</span></li>'
    if path.legend:
        yield f'<li><strong>{MARK}</strong> <span class="quiet">{path.legend}</span></li>'
    yield "</ul>"


def _facts(plan: Plan, experience: Experience, path: Critical) -> Facts:
    """What was seen of layers when they were made last, and which of them everything waits for."""
    seconds = seconds_anew(plan, experience)

    def of(layer: LayerPlan) -> Iterator[str]:
        if (took := seconds(layer)) is not None:
            yield f"{took:.1f} s"
        if (given := experience.size(layer.digest, layer.summary)) is not None:
            yield size(given)
        if layer.digest in path.layers:
            yield MARK

    return of


def _trees(plan: Plan, facts: Facts) -> Iterator[str]:
    yield '<ul class="tree">'
    for root in forest(plan):
        yield from _branch(root, facts)
    for image in bare(plan):
        yield from _image(image)
    yield "</ul>"


def _branch(node: Node, facts: Facts) -> Iterator[str]:
    """A layer and all above it; where only one way leads on, it goes straight down."""
    while True:
        yield from _layer(node, facts)
        if len(node.above) != 1 or node.images:
            break
        node = node.above[0]
    for image in node.images:
        yield from _image(image)
    if node.above:
        yield '<li><ul class="branch">'
        for above in node.above:
            yield from _branch(above, facts)
        yield "</ul></li>"


def _layer(node: Node, facts: Facts) -> Iterator[str]:
    layer = node.layer
    told = [*([f"in {node.users} images"] if node.users > 1 else []), *facts(layer)]
    reason = f' <span class="quiet">{_prose(layer.reason)}</span>' if layer.reason else ""
    kind = "layer critical" if MARK in told else "layer"
    yield (
        f'<li class="{kind}">{_sign(layer.status)}<span><code>{layer.digest[:8]}</code> {escape(layer.summary)}{reason}'
        f'</span><span class="facts quiet">{" · ".join(told)}</span></li>'
    )


def _wheel_layers(plan: Plan, experience: Experience) -> Iterator[str]:
    if not plan.wheel_layers:
        return
    names = {image.reference: image.environments for image in plan.images}
    yield '<h2>Wheel layers</h2><ul class="tree">'
    for layer in plan.wheel_layers:
        users = " ".join(
            f'<span class="environment">{escape(name)}</span>' for place in layer.images for name in names[place]
        )
        facts = [] if layer.size is None else [size(layer.size)]
        if (took := experience.seconds(layer.step)) is not None:
            facts.append(f"{took:.1f} s")
        yield (
            f'<li class="layer">{_sign(layer.status)}<span><code>{layer.key[:8]}</code> {escape(layer.summary)} {users}'
            f'</span><span class="facts quiet">{" · ".join(facts)}</span></li>'
        )
    yield "</ul>"


def _image(image: ImagePlan) -> Iterator[str]:
    names = " ".join(f'<span class="environment">{escape(name)}</span>' for name in image.environments)
    verdict = f"to be named from {image.copied_from}" if image.copied_from else _WORDS[image.status]
    yield (
        f'<li class="image"><div class="head">{_sign(image.status)}<strong>image <code>{escape(image.short)}</code>'
        f"</strong>{names}<span>{escape(verdict)}</span></div>"
        f'<div class="quiet"><code>{escape(image.reference)}</code></div>'
    )
    yield from _why(image)
    yield "</li>"


def _why(image: ImagePlan) -> Iterator[str]:
    lines = [_told(change.words, change.origin) for change in image.changes]
    lines += [f"<code>{escape(member)}</code> for {escape(str(platform))}" for platform, member in image.members]
    if not lines and image.reason and image.status in ("missing", "unknown"):
        lines = [_prose(image.reason)]
    yield from _list(lines)


def _list(lines: Sequence[str]) -> Iterable[str]:
    return ('<ul class="why">', *(f"<li>{line}</li>" for line in lines), "</ul>") if lines else ()


def _told(words: str, origin: str) -> str:
    return _prose(words) + (f' <span class="quiet">{escape(origin)}</span>' if origin else "")


def _prose(text: str) -> str:
    """What is between backticks as code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))


def _sign(status: Status) -> str:
    return f'<span class="sign {status}" title="{_WORDS[status]}">{_SIGNS[status]}</span>'
