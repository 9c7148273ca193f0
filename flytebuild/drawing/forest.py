"""The layers of a plan's images as trees: what several images begin with is there once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct, field

from flytebuild.plan import ImagePlan, LayerPlan, Plan


class Node(Struct):
    """A layer, the layers on top of it, and the images that end with it. External images have no layer at all."""

    layer: LayerPlan
    above: list[Node] = field(default_factory=list)
    images: list[ImagePlan] = field(default_factory=list)

    @property
    def users(self) -> int:
        """How many images have this layer."""
        return len(self.images) + sum(node.users for node in self.above)

    def walk(self) -> Iterator[Node]:
        """This node and all above it, each before those on top of it."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.above))


def forest(plan: Plan) -> tuple[Node, ...]:
    """One tree for each different beginning, in the order of the plan."""
    nodes: dict[str, Node] = {}
    roots: list[Node] = []
    for image in plan.images:
        siblings = roots
        for layer in image.layers:
            # A layer's digest covers all below it, so equal digests are the same place in the same tree.
            node = nodes.get(layer.digest)
            if node is None:
                node = nodes[layer.digest] = Node(layer)
                siblings.append(node)
            siblings = node.above
        if image.layers:
            nodes[image.layers[-1].digest].images.append(image)
    return tuple(roots)


def bare(plan: Plan) -> tuple[ImagePlan, ...]:
    """The images without layers: those named by the user, and indexes of others."""
    return tuple(image for image in plan.images if not image.layers)


def levels(plan: Plan) -> Mapping[str, int]:
    """How far each environment is from those that depend on none: 0 for these, as they come first in a plan."""
    found: dict[str, int] = {}
    for item in plan.environments:
        found[item.name] = 1 + max((found[name] for name in item.depends_on if name in found), default=-1)
    return found
