"""A plan as a graph in JSON, for programs that draw it themselves (`flytebuild.graph/1`, docs/json.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flytebuild.drawing.forest import Node, forest
from flytebuild.plan import Plan, critical_path

SCHEMA = "flytebuild.graph/1"


def document(plan: Plan, seconds: Callable[[str], float | None]) -> dict[str, Any]:
    """What the other drawings show. `seconds` is what a layer took by its name when it was made last."""
    return {
        "schema": SCHEMA,
        "environments": [
            {"name": item.name, "image": item.image, "depends_on": list(item.depends_on)} for item in plan.environments
        ],
        "images": [
            {
                "reference": image.reference,
                "digest": image.digest,
                "status": image.status,
                "copied_from": image.copied_from,
                "layer": image.layers[-1].digest if image.layers else None,
                "members": [member for _, member in image.members],
            }
            for image in plan.images
        ],
        "layers": [item for root in forest(plan) for item in _branch(root, seconds)],
        "wheel_layers": [
            {
                "key": item.key,
                "summary": item.summary,
                "status": item.status,
                "bytes": item.size,
                "images": list(item.images),
            }
            for item in plan.wheel_layers
        ],
        "critical": list(critical_path(plan, lambda layer: seconds(layer.summary))),
    }


def _branch(root: Node, seconds: Callable[[str], float | None]) -> Iterator[dict[str, Any]]:
    """A layer and all above it, each after the one that it is on."""
    pending: list[tuple[Node, str | None]] = [(root, None)]
    while pending:
        node, below = pending.pop()
        layer = node.layer
        yield {
            "digest": layer.digest,
            "below": below,
            "kind": layer.kind,
            "summary": layer.summary,
            "status": layer.status,
            "images": node.users,
            "seconds": seconds(layer.summary),
            "wheel_layers": list(layer.wheel_layers),
        }
        pending.extend((above, layer.digest) for above in reversed(node.above))
