"""Scripts that declare their dependencies in themselves, as the layers that install these."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import flyte
from flyte._image import PixiScript, UVScript
from msgspec.structs import replace

from flytebuild.authoring import credentials, scripts, sdk
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.layers.options import checked_text, layer_secrets, pip_options
from flytebuild.authoring.layers.packages import checked_requirements
from flytebuild.authoring.layers.projects import pixi_environment, uv
from flytebuild.authoring.site import Site
from flytebuild.spec import layers as spec
from flytebuild.spec import normalise
from flytebuild.spec.model import Part


def uv_script(layer: UVScript, image: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """What the script's header asks for, as the layers that install it."""
    script = Path(layer.script)
    header = scripts.metadata(script, files, site)
    scripts.check_python(header, image.python_version, script, site)
    options = scripts.uv_options(header, pip_options(layer, site), script, site)
    packages, found = scripts.dependencies(header, image.python_version, script, site)
    if packages:
        yield spec.PipPackages(checked_requirements(packages, site), options)
    if any(item.path.suffix != ".whl" for item in found):
        # Projects that take their version from their history need git to tell it.
        yield spec.AptPackages(("git",))
    for item in found:
        yield _local_project(item, options, files, site)


def _local_project(item: scripts.LocalProject, options: spec.PipOptions, files: HostFiles, site: Site) -> Part:
    """A project that is installed with what it needs, or a wheel with what it needs."""
    if item.path.suffix == ".whl":
        name = item.name or item.path.name.partition("-")[0]
        extras = f"[{','.join(item.extras)}]" if item.extras else ""
        return spec.Wheels(normalise.name(name) + extras, files.file(item.path, site), options)
    if normalise.is_archive(item.path.name):
        raise site.error(
            f"`{item.path}` is an archive of sources", hint="unpack it and name the folder, or name a wheel"
        )
    wanted = shlex.join(f"--extra={extra}" for extra in item.extras)
    options = replace(options, extra_args=f"{options.extra_args} {wanted}".strip())
    lock = item.path / "uv.lock"
    manifest = item.path / "pyproject.toml"
    return uv(manifest, lock if lock.exists() else None, "install_project", options, files, site)


def pixi_script(layer: PixiScript, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """The manifest that a script comes to, as a pixi project."""
    scripts.metadata(Path(layer.script), files, site)
    try:
        manifest = sdk.pixi_manifest(layer)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # The SDK reads tables without looking whether they are any.
        known = str(error) if isinstance(error, ValueError) else f"`[tool.pixi]` of `{layer.script}` is malformed"
        raise site.error(
            known, hint="mend the script's `# /// script` block: its tables are those of pixi's manifest"
        ) from error
    if re.search(credentials.CONDA_CHANNEL, manifest):
        raise site.error(f"`{layer.script}` has a URL with credentials", hint=credentials.CONDA_HINT)
    texts = {"pixi.toml": manifest}
    if layer.pixi_lock:
        texts["pixi.lock"] = files.text(layer.pixi_lock, site)
        credentials.refuse_conda(texts["pixi.lock"], layer.pixi_lock, site)
    yield spec.PixiProject(
        manifest="pixi.toml",
        environment=pixi_environment(layer.environment, site),
        locked=layer.pixi_lock is not None,
        texts=tuple(texts.items()),
        extra_args=checked_text(layer.extra_args, site),
        secrets=layer_secrets(layer.secret_mounts, site),
    )
