"""A plan as a graph in JSON, for programs that draw it themselves (`flytebuild.graph/1`, docs/json.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flytebuild.drawing.forest import Node, forest
from flytebuild.plan import Plan
from flytebuild.plan.durations import LayerSeconds, critical_path, critical_path_to_build, seconds_anew
from flytebuild.plan.experience import Experience

SCHEMA = "flytebuild.graph/1"


def document(plan: Plan, experience: Experience) -> dict[str, Any]:
    """What the other drawings show."""
    seconds = seconds_anew(plan, experience)
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
        "layers": [item for root in forest(plan) for item in _branch(root, seconds, experience)],
        "wheel_layers": [
            {
                "key": item.key,
                "summary": item.summary,
                "status": item.status,
                "bytes": item.size,
                "seconds": experience.seconds(item.step),
                "images": list(item.images),
            }
            for item in plan.wheel_layers
        ],
        "critical": list(critical_path(plan, experience)),
        "critical_to_build": list(critical_path_to_build(plan, experience)),
    }


def _branch(root: Node, seconds: LayerSeconds, experience: Experience) -> Iterator[dict[str, Any]]:
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
            "seconds": seconds(layer),
            "bytes": experience.size(layer.digest, layer.summary),
            "wheel_layers": list(layer.wheel_layers),
        }
        pending.extend((above, layer.digest) for above in reversed(node.above))
