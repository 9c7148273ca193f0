"""A plan in DOT, the language of Graphviz (https://graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from collections.abc import Iterator

from flytebuild.drawing.critical import MARK, critical
from flytebuild.drawing.forest import forest
from flytebuild.plan import Plan, Status
from flytebuild.plan.durations import seconds_anew
from flytebuild.plan.experience import NOTHING, Experience

_STYLES: dict[Status, str] = {
    "present": "filled",
    "missing": "dashed",
    "unknown": "dotted",
    "external": "filled,rounded",
}


def dot(plan: Plan, experience: Experience = NOTHING) -> str:
    """Environments point at those that they depend on and at their images, images at their layers from the top down.

    What is there is filled, what is to be built dashed, what is unknown dotted. Layers say what they took when they
    were made last; those that take longest together have a thick frame, and the drawing's label says of which build.
    """
    return "\n".join(["digraph flytebuild {", *(f"  {line}" for line in _lines(plan, experience)), "}"])


def _lines(plan: Plan, experience: Experience) -> Iterator[str]:
    path, seconds = critical(plan, experience), seconds_anew(plan, experience)
    yield "rankdir=LR"
    if path.legend:
        yield f"label={_quoted(f'{MARK}: {path.legend}')}"
    yield 'node [shape=box fontname="sans-serif" fillcolor="#e8eef5"]'
    for item in plan.environments:
        yield f"{_id('env', item.name)} [label={_quoted(item.name)} shape=ellipse]"
    for item in plan.environments:
        for name in item.depends_on:
            yield f"{_id('env', item.name)} -> {_id('env', name)} [style=bold]"
        yield f"{_id('env', item.name)} -> {_id('image', item.image)}"
    for image in plan.images:
        label = f"image {image.short}\n{image.status}"
        yield f"{_id('image', image.reference)} [label={_quoted(label)} style={_quoted(_STYLES[image.status])}]"
        for _, member in image.members:
            yield f"{_id('image', image.reference)} -> {_id('image', member)}"
    for root in forest(plan):
        for node in root.walk():
            layer = node.layer
            label = f"{layer.digest[:8]}\n{layer.summary}"
            if (took := seconds(layer)) is not None:
                label += f"\n{took:.1f} s" + (f", {MARK}" if layer.digest in path.layers else "")
            frame = " penwidth=3" if layer.digest in path.layers else ""
            yield f"{_id('layer', layer.digest)} [label={_quoted(label)} style={_quoted(_STYLES[layer.status])}{frame}]"
            for image in node.images:
                yield f"{_id('image', image.reference)} -> {_id('layer', layer.digest)}"
            for above in node.above:
                yield f"{_id('layer', above.layer.digest)} -> {_id('layer', layer.digest)}"


def _id(kind: str, name: str) -> str:
    return _quoted(f"{kind} {name}")


def _quoted(text: str) -> str:
    # Within quotes only the quote itself ends a string; a backslash starts an escape of labels.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
