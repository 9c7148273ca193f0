"""Images by a Dockerfile: what BuildKit's own frontend is asked."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.buildkit.frontend import Frontend, dockerfile
from flytebuild.llb.lower import pinned
from flytebuild.llb.marshal import marshal
from flytebuild.llb.source import local
from flytebuild.registry.reference import familiar
from flytebuild.spec.layers import Dockerfile
from flytebuild.spec.model import ImageSpec


def lower_dockerfile(spec: ImageSpec, labels: Mapping[str, str]) -> Frontend:
    """The request for an image that a Dockerfile makes; every image that it names is pinned by digest."""
    layer = spec.steps[0].layer
    if not isinstance(layer, Dockerfile):
        raise ValueError(f"`{spec.name}` is not made by a Dockerfile")
    context = marshal(local(layer.tree, name="build context"))
    images = {familiar(image.reference): pinned(image) for image in layer.images}
    return dockerfile(context, context, spec.platform, filename=layer.file, images=images, labels=labels)
