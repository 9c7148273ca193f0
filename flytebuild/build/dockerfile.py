"""Images by a Dockerfile: what a frontend of BuildKit's is asked."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.buildkit.frontend import Frontend, dockerfile
from flytebuild.llb.marshal import marshal
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.source import local, pinned
from flytebuild.registry.reference import familiar
from flytebuild.spec.layers import Dockerfile
from flytebuild.spec.model import ImageSpec


def lower_dockerfile(spec: ImageSpec, labels: Mapping[str, str], proxies: Proxies | None = None) -> Frontend:
    """The request for an image that a Dockerfile makes; all images that it names are pinned, its frontend too."""
    layer = spec.steps[0].layer
    if not isinstance(layer, Dockerfile):
        raise ValueError(f"`{spec.name}` is not made by a Dockerfile")
    images = {familiar(image.reference): pinned(image) for image in layer.images}
    return dockerfile(
        marshal(local(layer.tree, name="build context")),
        marshal(local(layer.file, name=layer.name)),
        spec.platform,
        filename=layer.name,
        images=images,
        labels=labels,
        arguments=proxies.variables() if proxies else {},
        syntax=layer.syntax,
        source=pinned(layer.frontend) if layer.frontend else "",
    )
