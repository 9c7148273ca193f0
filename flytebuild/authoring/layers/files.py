"""Files and folders of the host that stay in the image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import flyte
from flyte._image import CodeBundleLayer, CopyConfig, DockerIgnore

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.layers.options import refuse_null
from flytebuild.authoring.site import Site, relative
from flytebuild.spec import layers as spec
from flytebuild.spec.model import Part
from flytebuild.trees.problems import shown

OWNER = "flyte"
"""Whom copied files belong to, where the image has that user."""


def copy(layer: CopyConfig, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A file or a folder; a file may be given another name."""
    source, destination = Path(layer.src), layer.dst or "."
    refuse_null(destination, site)
    if layer.path_type == 0:
        into = destination.endswith(("/", "/.", "/..")) or destination in (".", "..")
        tree, folder = files.file(source, site), source.parent
    else:
        into, tree, folder = True, files.folder(source, site), source
    yield spec.Copy(tree, destination, into, OWNER, shown(source.name), _from_here(folder))


def code_bundle(layer: CodeBundleLayer, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A bundle that the SDK resolved; an unresolved one is for runs that bring their code along, and adds nothing."""
    if layer.root_dir is None:
        return
    root = Path(layer.root_dir)
    tree = files.folder(root, site) if layer.copy_style == "all" else files.bundle(root, site)
    yield spec.Copy(tree, layer.dst or ".", True, OWNER, "code bundle", _from_here(root))


def _from_here(folder: Path) -> str:
    """How paths below a folder begin, seen from the current one; nothing where it is elsewhere."""
    found = relative(os.path.join(os.path.abspath(folder), ""))
    return "" if os.path.isabs(found) else shown(found)


def docker_ignore(_: DockerIgnore, __: flyte.Image, ___: HostFiles, ____: Site) -> Iterator[Part]:
    """Taken into account for the whole image (`images.define`); nothing of its own."""
    return iter(())
