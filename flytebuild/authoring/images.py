"""From a `flyte.Image` to an image definition."""

from __future__ import annotations

import re

import flyte
from flyte._image import Layer
from flyte._image import PipPackages as FlytePipPackages

from flytebuild.errors import UnsupportedImageError
from flytebuild.spec import normalise
from flytebuild.spec.model import ExternalImage, ImageDefinition, LayerSpec, PipPackages, Platform

# The user name of an ssh URL is no secret.
_CREDENTIALS = re.compile(r"(?<!ssh)://[^/\s@]+@")
_PLANNED = "this version builds `with_pip_packages` layers; leave the layer out, or put it into the base image"


def define(image: object, environment: str) -> ImageDefinition | ExternalImage:
    """What the user asked for with an environment's `image`.

    Raises UnsupportedImageError for what cannot be honoured; nothing is dropped silently.
    """
    if image is None or image == "auto":
        image = flyte.Image.from_debian_base()
    if isinstance(image, str):
        return ExternalImage(image)
    if not isinstance(image, flyte.Image):
        raise UnsupportedImageError(f"The image of environment `{environment}` is a `{type(image).__name__}`")
    if image.dockerfile:
        raise UnsupportedImageError(
            f"The image of environment `{environment}` comes from a Dockerfile, which is not supported yet",
            hint=f"build `{image.dockerfile}` yourself and use `flyte.Image.from_base`",
        )
    if image._ref_name is not None and not image.base_image:
        raise UnsupportedImageError(
            f"The image of environment `{environment}` is the named reference `{image._ref_name}`",
            hint="use `flyte.Image.from_base` with the image that the name stands for",
        )
    if not image.base_image:
        raise UnsupportedImageError(
            f"The image of environment `{environment}` has no base image",
            hint="was `flyte.Image.from_base` given an empty string?",
        )
    if not image._is_cloned or not image._layers:
        return ExternalImage(image.base_image)
    major, minor = image.python_version or (3, 11)
    return ImageDefinition(
        base=image.base_image,
        name=image.name or environment,
        registry=image.registry,
        python=f"{major}.{minor}",
        platforms=tuple(Platform.parse(text) for text in image.platform),
        layers=tuple(_layer(layer, environment) for layer in image._layers),
    )


def _layer(layer: Layer, environment: str) -> LayerSpec:
    # The exact type: a subclass (`Requirements`) means something else.
    if type(layer) is FlytePipPackages:
        return _pip(layer, environment)
    raise UnsupportedImageError(
        f"The image of environment `{environment}` has a `{type(layer).__name__}` layer, which is not supported yet",
        hint=_PLANNED,
    )


def _pip(layer: FlytePipPackages, environment: str) -> PipPackages:
    where = f"the pip layer of environment `{environment}`"
    if layer.secret_mounts:
        raise UnsupportedImageError(f"Secrets in {where} are not supported yet", hint=_PLANNED)
    texts = (layer.index_url or "", *(layer.extra_index_urls or ()), layer.extra_args or "", *(layer.packages or ()))
    if any(_CREDENTIALS.search(text) for text in texts):
        raise UnsupportedImageError(
            f"A URL in {where} holds credentials, which would end up in the image's history",
            hint="set `UV_INDEX_URL` with the credentials in the environment that builds; it enters no layer",
        )
    for package in layer.packages or ():
        if package.startswith(("-", ".", "/")):
            raise UnsupportedImageError(
                f"`{package}` in {where} is not a package requirement",
                hint="options belong into `extra_args`; local folders are not supported yet",
            )
    return PipPackages(
        requirements=normalise.requirements(layer.packages or ()),
        index_url=layer.index_url or "",
        extra_index_urls=tuple(layer.extra_index_urls or ()),
        pre=bool(layer.pre),
        extra_args=layer.extra_args or "",
    )
