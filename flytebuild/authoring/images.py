"""From a `flyte.Image` to an image definition."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import flyte
from flyte._image import DockerIgnore, Layer

from flytebuild.authoring import references, sdk
from flytebuild.authoring.annotations import misfit
from flytebuild.authoring.files import LEFT_OUT, MISSING_HINT, HostFiles, blamed
from flytebuild.authoring.interpreter import python_of
from flytebuild.authoring.layers import parts
from flytebuild.authoring.methods import method_of
from flytebuild.authoring.site import Site, current_folder, origin_of, relative
from flytebuild.config_values import PLATFORMS
from flytebuild.events import Emit, Notice, ignore
from flytebuild.spec.images import Platform
from flytebuild.spec.model import Definition, DockerfileDefinition, ImageDefinition, Part, Placed
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.statcache import StatCache

OUTSIDE = {
    "registry": "says where the image is published",
    "name": "says where the image is published",
    "extendable": "says what the SDK lets others do with it",
    "_tag": "the SDK's own idea of a tag; ours is made of the digest",
    "_ref_name": "the image that the configuration gives this name counts",
    "_image_registry_secret": "says how the image is pulled",
}
"""Fields of the SDK's images that are in no digest, and why."""


class Reader:
    """Reads the images of one plan: each file and each folder once, however many images want it.

    Digests of files are remembered in `cache`. `emit` is told, once each, what may surprise in them. `outputs` are
    the files and folders that flytebuild writes.
    """

    def __init__(self, cache: StatCache | None = None, emit: Emit = ignore, outputs: tuple[Path, ...] = ()) -> None:
        self.cache = cache
        self.emit = emit
        self.outputs = outputs
        self._files = HostFiles(Ignore.none(), cache, outputs=outputs)
        self._filtered: dict[str, HostFiles] = {}
        self._known: dict[tuple[int, tuple[int, int] | None], dict[Layer, tuple[Part, ...]]] = {}

    def define(self, image: object, environment: str, file: str | None = None) -> Definition:
        """What the user asked for with an environment's `image`; `file` is where the environment was written.

        Raises UnsupportedImageError for what cannot be honoured; nothing is dropped silently.
        """
        here = current_folder()
        # Who only uses an SDK that has imported the code knows no lines.
        site = Site(environment, origin=origin_of(image, here) or relative(file or "", here))
        try:
            with blamed(site):
                return self._define(image, environment, site, here)
        except (AttributeError, TypeError, ValueError) as error:
            _blame(image, site, error)
            raise
        finally:
            for message in self._files.warnings:
                self.emit(Notice(message))
            self._files.warnings.clear()

    def _define(self, image: object, environment: str, site: Site, here: str) -> Definition:
        if image is None or image == "auto":
            configured = sdk.image_references().get("default")
            image = flyte.Image.from_base(configured) if configured else flyte.Image.from_debian_base()
        if isinstance(image, str):
            return references.external(image, site)
        if not isinstance(image, flyte.Image):
            raise site.error(f"it is a `{type(image).__name__}`", hint="use a `flyte.Image`, or the reference of one")
        if image.dockerfile:
            return self._dockerfile(Path(image.dockerfile), image, environment, site)
        base = image.base_image
        if image._ref_name is not None:
            base = base or sdk.image_references().get(image._ref_name)
            if not base:
                raise site.error(
                    f"no image is configured under the name `{image._ref_name}`",
                    hint=f"add `image_refs: {{{image._ref_name}: …}}` below `image:` in Flyte's configuration",
                )
        if not base:
            raise site.error("it has no base image", hint="was `flyte.Image.from_base` given an empty string?")
        python = python_of(image, base, site)
        is_named_only = image._ref_name is not None and not image._layers
        if is_named_only or not image._is_cloned:
            return references.external(base, site)
        references.check(base, base, "its base `{}`", site)
        references.check_names(image, site)
        ignores = [layer for layer in image._layers if isinstance(layer, DockerIgnore) and layer.path.strip()]
        files = self._files_without(ignores[-1] if ignores else None, site)
        return ImageDefinition(
            base=base,
            name=image.name or environment,
            registry=image.registry,
            python=python,
            platforms=_platforms(image, site),
            parts=tuple(self._placed(image, files, site, here)),
            roots=self._files.roots,
            environment=environment,
            origin=site.origin,
        )

    def _placed(self, image: flyte.Image, files: HostFiles, site: Site, here: str) -> list[Placed]:
        """What an image's layers come to. For equal layers of a plan that is worked out once."""
        # Of an image, no more than this decides.
        known = self._known.setdefault((id(files), image.python_version), {})
        placed: list[Placed] = []
        for layer in image._layers:
            found = known.get(layer)
            if found is None:
                found = known[layer] = tuple(parts(layer, image, files, _site_of(layer, site)))
            origin = origin_of(layer, here) or site.origin
            placed += [Placed(part, origin) for part in found]
        return placed

    def _files_without(self, layer: Layer | None, site: Site) -> HostFiles:
        """Files as an image's folders are copied: the last `with_dockerignore` counts for all of them, as in Flyte.

        Patterns are relative to each folder that is copied.
        """
        name = layer.path if isinstance(layer, DockerIgnore) else ""
        if name not in self._filtered:
            path, where = Path(name), _site_of(layer, site) if layer else site
            if not layer:
                path = sdk.root_folder() / ".dockerignore"
            elif not path.is_file():
                raise where.error(f"file `{path}` does not exist", hint=MISSING_HINT)
            patterns = self._files.patterns(path, where) if path.is_file() else Ignore.none()
            self._filtered[name] = self._files.filtered(LEFT_OUT.joined(patterns))
        return self._filtered[name]

    def _dockerfile(self, file: Path, image: flyte.Image, environment: str, site: Site) -> DockerfileDefinition:
        from flytebuild.authoring import dockerfiles  # most images have none

        platforms = _platforms(image, site)
        where = site.at("Dockerfile", site.origin)
        dockerfile, images = dockerfiles.read(file, self._files, where, [str(platform) for platform in platforms])
        if image._layers:
            raise site.error("layers cannot follow a Dockerfile", hint="write them into the Dockerfile")
        references.check_names(image, site)
        return DockerfileDefinition(
            name=image.name or environment,
            registry=image.registry,
            platforms=platforms,
            dockerfile=dockerfile,
            images=images,
            roots=self._files.roots,
            environment=environment,
            origin=site.origin,
        )


def define(image: object, environment: str, cache: StatCache | None = None) -> Definition:
    """One image; see `Reader.define`."""
    return Reader(cache).define(image, environment)


def _blame(image: object, site: Site, error: Exception) -> None:
    """Raise UnsupportedImageError where an error comes from values of types that no image can have."""
    things: tuple[flyte.Image | Layer, ...] = (image, *image._layers) if isinstance(image, flyte.Image) else ()
    for thing in things:
        if problem := misfit(thing):
            where = _site_of(thing, site) if isinstance(thing, Layer) else site
            raise where.error(problem, hint="give it a value of the type that Flyte's method asks for") from error


def _site_of(layer: Layer, site: Site) -> Site:
    return site.at(f"`{method_of(layer)}` layer", origin_of(layer) or site.origin)


def _platforms(image: flyte.Image, site: Site) -> tuple[Platform, ...]:
    if not image.platform:
        raise site.error("it is for no platform", hint="leave `platform` out, or name one")
    for text in image.platform:
        if text not in PLATFORMS:
            known = ", ".join(f"`{item}`" for item in PLATFORMS)
            raise site.error(f"`{text}` is not a platform that Flyte runs on", hint=f"use one of {known}")
    return tuple(map(_platform, dict.fromkeys(image.platform)))


_platform = lru_cache(maxsize=16)(Platform.parse)
