"""Projects of uv, Poetry and pixi."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import flyte
from flyte._image import PixiProject, PoetryProject, UVProject

from flytebuild.authoring import credentials, listings, projects
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.layers.options import checked_text, layer_secrets, pip_options
from flytebuild.authoring.site import Site
from flytebuild.spec import layers as spec
from flytebuild.spec.model import Part
from flytebuild.spec.prefix import PIXI_PROJECT, VENV

POETRY_VERSION = "2.2.1"
"""The Poetry that installs projects; Flyte's builder takes whichever is newest."""


def uv_project(layer: UVProject, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A uv project."""
    yield uv(layer.pyproject, layer.uvlock, layer.project_install_mode, pip_options(layer, site), files, site)


def uv(
    manifest: Path, lock: Path | None, mode: Any, options: spec.PipOptions, files: HostFiles, site: Site
) -> spec.UvProject:
    """A uv project by its files, with a lock or without."""
    manifest = Path(manifest)
    project = projects.toml(manifest, files, site)
    locked = projects.lock_of(manifest, Path(lock), "uv lock", files, site) if lock else None
    if lock and locked is not None:
        projects.check_uv_lock(project, locked, Path(lock), manifest, site)
    else:
        files.note(
            f"`{manifest}` has no `uv.lock`, so what is installed may be something else in another build; `uv lock` "
            "makes one"
        )
    packages = projects.uv_packages(manifest, project, locked, files, site)
    tree = projects.tree_of(manifest, Path(lock) if lock else None, "uv.lock", mode, files, site)
    if mode == "install_project":
        packages = tuple(package for package in packages if package.path.startswith(".."))
    text = files.text(manifest if lock is None else Path(lock), site)
    if lock is not None:
        listed = listings.of_lock(text, Path(lock), "uv.lock")
    else:
        listed = listings.of_manifest(projects.dependencies(project), text, manifest)
    return spec.UvProject(mode, tree, lock is not None, packages, options, listed)


def poetry_project(layer: PoetryProject, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A Poetry project with its lock."""
    manifest, lock = Path(layer.pyproject), Path(layer.poetry_lock)
    project = projects.toml(manifest, files, site)
    locked = projects.lock_of(manifest, lock, "poetry lock", files, site)
    projects.check_poetry_lock(project, locked, lock, manifest, site)
    packages = projects.poetry_packages(manifest, locked, files, site)
    # A project that is no package has nothing to install but its dependencies.
    mode = layer.project_install_mode if projects.is_poetry_package(project) else "dependencies_only"
    if mode == "install_project":
        packages = tuple(package for package in packages if package.path.startswith(".."))
    yield spec.PoetryProject(
        mode=mode,
        tree=projects.tree_of(manifest, lock, "poetry.lock", mode, files, site),
        version=POETRY_VERSION,
        packages=packages,
        extra_args=checked_text(layer.extra_args, site),
        secrets=layer_secrets(layer.secret_mounts, site),
        listed=listings.of_lock(files.text(lock, site), lock, "poetry.lock"),
    )


def pixi_project(layer: PixiProject, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A pixi project."""
    manifest = Path(layer.manifest)
    if manifest.name not in ("pixi.toml", "pyproject.toml"):
        raise site.error(
            f"`{manifest}` is not called `pixi.toml` or `pyproject.toml`, and pixi reads no other manifest",
            hint="rename it, or name the project's folder",
        )
    credentials.refuse_conda(files.text(manifest, site), manifest, site)
    project = projects.toml(manifest, files, site)
    lock = Path(layer.pixi_lock) if layer.pixi_lock else None
    if lock:
        credentials.refuse_conda(files.text(lock, site), lock, site)
    mode = layer.project_install_mode
    packages = projects.pixi_packages(manifest, project, files, site)
    _refuse_far_above(packages, site)
    if mode == "install_project":
        packages = tuple(package for package in packages if package.path.startswith(".."))
    yield spec.PixiProject(
        manifest=manifest.name,
        environment=pixi_environment(layer.environment, site),
        locked=lock is not None,
        tree=projects.tree_of(manifest, lock, "pixi.lock", mode, files, site),
        packages=packages,
        extra_args=checked_text(layer.extra_args, site),
        secrets=layer_secrets(layer.secret_mounts, site),
    )


def _refuse_far_above(packages: Iterable[spec.LocalPackage], site: Site) -> None:
    """Refuse packages of pixi's that would come upon what is there: they stay in the image, relative to the project."""
    for package in packages:
        place = posixpath.normpath(posixpath.join(PIXI_PROJECT, package.path))
        if posixpath.dirname(place) == "/" or place == VENV:
            raise site.error(
                f"it takes a package from `{package.path}`, which would be at `{place}` in the image, among what is "
                "not the project's",
                hint="move the package below the project or beside it",
            )


def pixi_environment(name: str, site: Site) -> str:
    """The name of an environment of pixi's. Raises UnsupportedImageError for what pixi takes for none."""
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise site.error(
            f"`{name}` is not the name of a pixi environment", hint="it has small letters, digits and hyphens"
        )
    return name
