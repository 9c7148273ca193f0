"""A plan in Mermaid's flowcharts, which GitHub and GitLab draw in Markdown (https://mermaid.js.org)."""

from __future__ import annotations

from collections.abc import Iterator

from flytebuild.drawing.critical import MARK, critical
from flytebuild.drawing.forest import forest
from flytebuild.plan import Plan, Status
from flytebuild.plan.durations import seconds_anew
from flytebuild.plan.experience import NOTHING, Experience

_SIGNS: dict[Status, str] = {"present": "=", "missing": "+", "unknown": "?", "external": "~"}


def mermaid(plan: Plan, experience: Experience = NOTHING) -> str:
    """The same as `dot` draws; the signs are those of a plan's text, so that nothing depends on colours."""
    return "\n".join(["flowchart LR", *(f"  {line}" for line in _lines(plan, experience))])


def _lines(plan: Plan, experience: Experience) -> Iterator[str]:
    path, seconds = critical(plan, experience), seconds_anew(plan, experience)
    environments = {item.name: f"e{number}" for number, item in enumerate(plan.environments)}
    images = {image.reference: f"i{number}" for number, image in enumerate(plan.images)}
    layers: dict[str, str] = {}
    for item in plan.environments:
        yield f"{environments[item.name]}([{_quoted(item.name)}])"
    for image in plan.images:
        label = f"{_SIGNS[image.status]} image {image.short}"
        yield f"{images[image.reference]}[{_quoted(label)}]:::{image.status}"
    for root in forest(plan):
        for node in root.walk():
            name = layers.setdefault(node.layer.digest, f"l{len(layers)}")
            label = f"{_SIGNS[node.layer.status]} {node.layer.summary}"
            if (took := seconds(node.layer)) is not None:
                label += f", {took:.1f} s" + (f", {MARK}" if node.layer.digest in path.layers else "")
            yield f"{name}[{_quoted(label)}]:::{node.layer.status}"
    if path.legend:
        yield f"key[{_quoted(f'{MARK}: {path.legend}')}]"
    for item in plan.environments:
        for depended in item.depends_on:
            yield f"{environments[item.name]} ==> {environments[depended]}"
        yield f"{environments[item.name]} --> {images[item.image]}"
    for image in plan.images:
        for _, member in image.members:
            yield f"{images[image.reference]} --> {images[member]}"
    for root in forest(plan):
        for node in root.walk():
            for image in node.images:
                yield f"{images[image.reference]} --> {layers[node.layer.digest]}"
            for above in node.above:
                yield f"{layers[above.layer.digest]} --> {layers[node.layer.digest]}"
    yield "classDef missing stroke-dasharray: 6 3"
    yield "classDef unknown stroke-dasharray: 2 2"


def _quoted(text: str) -> str:
    # Labels are HTML with `#…;` for what is not to be read as such.
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return '"' + " ".join(escaped.split()) + '"'
