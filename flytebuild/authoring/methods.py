"""What a layer is called by those who ask for it: the method of the image, not the class behind it."""

from __future__ import annotations

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
    Requirements,
    UVProject,
    UVScript,
    WorkDir,
)

_METHODS: dict[type[Layer], str] = {
    PipPackages: "with_pip_packages",
    Requirements: "with_requirements",
    UVProject: "with_uv_project",
    PoetryProject: "with_poetry_project",
    PixiProject: "with_pixi_project",
    UVScript: "from_uv_script",
    PixiScript: "from_pixi_script",
    AptPackages: "with_apt_packages",
    Commands: "with_commands",
    Env: "with_env_vars",
    WorkDir: "with_workdir",
    CodeBundleLayer: "with_code_bundle",
    DockerIgnore: "with_dockerignore",
}


def method_of(layer: Layer) -> str:
    """The name of the method that adds such a layer; for what has none, that of the class."""
    if isinstance(layer, CopyConfig):
        return "with_source_folder" if layer.path_type else "with_source_file"
    return _METHODS.get(type(layer)) or type(layer).__name__.lstrip("_")
