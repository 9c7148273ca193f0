"""Packages: of Python, by name, by file and from folders of wheels, and Debian's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import flyte
from flyte._image import AptPackages, PipPackages, PythonWheels, Requirements

from flytebuild.authoring import requirements
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.layers.options import checked_text, layer_secrets, pip_options
from flytebuild.authoring.site import Site
from flytebuild.spec import layers as spec
from flytebuild.spec import normalise
from flytebuild.spec.model import Part
from flytebuild.trees.problems import shown

_RAW = re.compile(
    r"^(?:-|\.{1,2}/|\.{1,2}$|/|~/|[A-Za-z][A-Za-z0-9+.-]*:)|\.(?:whl|tar\.gz|tar\.bz2|zip)$|^\$\{?\w+\}?"
)


_BARE = re.compile(r"(?<=[/:])\$([A-Za-z_]\w*)(?=(?::[^/@\s]*)?@)")


def pip(layer: PipPackages, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    """Packages by name."""
    yield spec.PipPackages(checked_requirements(layer.packages or (), site), pip_options(layer, site))


def requirements_file(layer: Requirements, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A requirements file with all that it refers to."""
    tree, name, listed = requirements.read(Path(layer.file), files, site)
    yield spec.Requirements(tree, name, pip_options(layer, site), shown(Path(layer.file).name), listed)


def wheels(layer: PythonWheels, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A package from a folder of wheels."""
    folder = Path(layer.wheel_dir)
    if not folder.is_dir():
        raise site.error(f"folder `{folder}` does not exist", hint="build the wheels first")
    wheels = {path.name: path for path in sorted(folder.glob("*.whl")) if path.is_file()}
    if not wheels:
        raise site.error(f"folder `{folder}` has no wheels", hint="build the wheels first")
    yield spec.Wheels(normalise.name(layer.package_name), files.files(wheels, site), pip_options(layer, site))


def apt(layer: AptPackages, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    """Debian packages."""
    for package in layer.packages:
        checked_text(package, site)
        if not package or package.startswith("-") or re.search(r"\s", package):
            raise site.error(f"`{package}` is not the name of a Debian package", hint="give each package for itself")
    yield spec.AptPackages(tuple(layer.packages), layer_secrets(layer.secret_mounts, site))


def checked_requirements(texts: Sequence[str], site: Site) -> tuple[str, ...]:
    """Requirements in normal form. Raises UnsupportedImageError for what is none, and no form that uv knows.

    Flyte's own builder hands them to a shell, to which `$NAME` in a URL's credentials is the same as `${NAME}`.
    """
    texts = [_BARE.sub(r"${\1}", text) if "://" in text else text for text in texts]
    for text in texts:
        checked_text(text, site)
        if not normalise.is_requirement(text) and not _RAW.search(text):
            raise site.error(
                f"`{text}` is not a requirement",
                hint="write it like `name`, `name==1.2`, `name[extra]>=1` or `name @ URL`",
            )
    return normalise.requirements(texts)
