"""From each kind of Flyte layer to the parts of our image definition.

Every layer type of the SDK has one function in this package, and every field of it is used there, or named in
`OUTSIDE` with the reason why it reaches no digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import flyte
from flyte._image import (
    AptPackages,
    CodeBundleLayer,
    Commands,
    CopyConfig,
    DockerIgnore,
    Env,
    Layer,
    PipPackages,
    PixiProject,
    PixiScript,
    PoetryProject,
    PythonWheels,
    Requirements,
    UVProject,
    UVScript,
    WorkDir,
    _DockerLines,
)

from flytebuild.authoring.files import HostFiles, blamed
from flytebuild.authoring.site import Site
from flytebuild.spec.canonical import is_plain
from flytebuild.spec.model import Part, RunAs, SetEnv, SetLabels, SetWorkDir

OUTSIDE = {
    "PythonWheels.wheel_dir": "a path of the host; the wheels' names and contents count",
    "PythonWheels.wheel_dir_name": "a path of the host",
    "Requirements.packages": "empty for a requirements file",
    "UVProject.pyproject": "a path of the host; the content counts",
    "UVProject.uvlock": "a path of the host; the content counts",
    "PoetryProject.pyproject": "a path of the host; the content counts",
    "PoetryProject.poetry_lock": "a path of the host; the content counts",
    "PixiProject.pixi_lock": "a path of the host; the content counts",
    "UVScript.script": "the script's metadata counts, not where or what it is",
    "UVScript.script_name": "a path of the host",
    "PixiScript.script": "the manifest that it comes to counts",
    "PixiScript.script_name": "a path of the host",
    "CopyConfig.src": "a path of the host; the tree counts, and a file's name, which it has in the image",
    "CodeBundleLayer.root_dir": "a path of the host; the tree counts",
    "DockerIgnore.path": "the files that it leaves count",
}
"""Fields of the SDK's layers that are in no digest by themselves, and why."""


def parts(layer: Layer, image: flyte.Image, host: HostFiles, site: Site) -> Iterator[Part]:
    """What a layer comes to. Raises UnsupportedImageError, naming the place, for what cannot be honoured."""
    # The exact type: a subclass may mean something else, as `Requirements` does.
    kind = _KINDS.get(type(layer))
    if kind is None:
        raise site.error("this kind of layer is not known to this version", hint="update flytebuild, or leave it out")
    module, function = kind
    convert = getattr(import_module(f"{__name__}.{module}"), function)
    with blamed(site):
        for part in convert(layer, image, host, site):
            if not _is_unicode(part):
                raise site.error(
                    "it holds text that is not Unicode, which no image can say of itself",
                    hint="give the file or folder a name in UTF-8, or decode the text",
                )
            yield part


def _is_unicode(part: Part) -> bool:
    """Whether a part has a canonical form: a name that the host has as bytes may be no text."""
    match part:
        case SetEnv(pairs=pairs) | SetLabels(pairs=pairs):
            return is_plain(pairs)
        case SetWorkDir(path=text) | RunAs(user=text):
            return is_plain(text)
        case _:
            return is_plain(part.fields())


_KINDS: dict[type[Layer], tuple[str, str]] = {
    PipPackages: ("packages", "pip"),
    Requirements: ("packages", "requirements_file"),
    PythonWheels: ("packages", "wheels"),
    UVProject: ("projects", "uv_project"),
    PoetryProject: ("projects", "poetry_project"),
    PixiProject: ("projects", "pixi_project"),
    UVScript: ("scripts", "uv_script"),
    PixiScript: ("scripts", "pixi_script"),
    AptPackages: ("packages", "apt"),
    Commands: ("commands", "commands"),
    Env: ("settings", "env"),
    WorkDir: ("settings", "workdir"),
    CopyConfig: ("files", "copy"),
    CodeBundleLayer: ("files", "code_bundle"),
    DockerIgnore: ("files", "docker_ignore"),
    _DockerLines: ("settings", "docker_lines"),
}
"""The function of each kind, and its module here, which is imported when a layer needs it."""
