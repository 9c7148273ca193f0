"""The start of an image, up to one of its parts, and what comes of it with a part more.

The order of things is that of Flyte's own builder: the `uv` binary, its environment variables, a virtual environment,
the user's layers, all of them run as root. Settings are folded into what later steps see, paths become absolute.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.spec.expand import ExpansionError, expand
from flytebuild.spec.images import ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Binary, Command, Copy, Folder, LayerSpec, PixiProject, Venv
from flytebuild.spec.model import Part, RunAs, SetEnv, SetLabels, SetWorkDir
from flytebuild.spec.step import Step

UV_IMAGE = "ghcr.io/astral-sh/uv:0.13.4"
"""Where the `uv` binary comes from; the version that flyte 2.12's own builder uses."""

PIXI_IMAGE = "ghcr.io/prefix-dev/pixi:0.72.2"
"""Where the `pixi` binary comes from, for images with pixi layers; again the version of flyte 2.12's builder."""

VENV = "/opt/venv"
PIXI_PROJECT = "/opt/pixi-project"
NVIDIA_PATH = "/usr/local/nvidia/bin:/usr/local/cuda/bin"
NVIDIA_LIBRARIES = "/usr/local/nvidia/lib64"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Prefix(Struct, frozen=True, eq=False):
    """An image so far: `context` is what the next step sees, `user` what containers will run as.

    `images` are those that were looked up for the image. A prefix is equal to itself only.
    """

    images: Mapping[str, ResolvedImage]
    user: str
    context: RuntimeConfig
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, base: RuntimeConfig, python: str, images: Mapping[str, ResolvedImage]) -> Prefix:
        """What every image starts with on a base of that configuration."""
        before = replace(base, user="root")
        variables = dict(base.env)
        libraries = variables.get("LD_LIBRARY_PATH", "")
        if NVIDIA_LIBRARIES not in libraries.split(":"):
            libraries = f"{libraries}:{NVIDIA_LIBRARIES}" if libraries else NVIDIA_LIBRARIES
        env = {
            "UV_COMPILE_BYTECODE": "1",
            "UV_LINK_MODE": "copy",
            "VIRTUALENV": VENV,
            "UV_PYTHON": f"{VENV}/bin/python",
            "PATH": f"{VENV}/bin:{variables.get('PATH', DEFAULT_PATH)}:{NVIDIA_PATH}",
            "LD_LIBRARY_PATH": libraries,
        }
        after = replace(before, env=(*before.env, *env.items()))
        uv = Binary("uv", images[UV_IMAGE], "/uv", "/usr/bin/uv")
        return cls(images, base.user, after, (Step(uv, before), Step(Venv(python, VENV), after)))

    @property
    def config(self) -> RuntimeConfig:
        """What containers get if nothing follows."""
        return _as_user(self.context, self.user)

    def then(self, part: Part, origin: str) -> Prefix:
        """The image with a part more, which was written at `origin`.

        Raises ExpansionError, which says where, for a value or a path that cannot be expanded.
        """
        match part:
            case SetEnv(pairs=pairs):
                env = dict(self.context.env)
                for name, value in pairs:
                    env[name] = _expand(value, env, f"the value of `{name}`")
                return self._next(context=replace(self.context, env=tuple(env.items())))
            case SetWorkDir(path=path):
                folder = self._absolute(self._expand_path(path))
                # Tasks unpack their code where they start, so the folder is theirs.
                steps = (Step(Folder(folder, self.user), self.context, origin),) if folder != "/" else ()
                return self._next(*steps, context=replace(self.context, workdir=folder))
            case SetLabels(pairs=pairs):
                return self._next(context=replace(self.context, labels=(*self.context.labels, *pairs)))
            case RunAs(user=user):
                return self._next(user=user)
            case Copy() as layer:
                path = self._expand_path(layer.destination)
                into = layer.into or path.endswith("/")
                copied = replace(layer, destination=self._absolute(path), into=into)
                return self._next(Step(copied, self.context, origin))
            case Command(shell=text) as layer if text and self.context.shell:
                command = replace(layer, shell="", args=(*self.context.shell, text))
                return self._next(Step(command, self.context, origin))
            case PixiProject() as layer:
                return self._with_pixi(layer, origin)
            case layer:
                return self._next(Step(layer, self.context, origin))

    def _with_pixi(self, layer: PixiProject, origin: str) -> Prefix:
        """The environment of pixi takes the virtual environment's place, for later layers and for tasks."""
        binary = Binary("pixi", self.images[PIXI_IMAGE], "/usr/local/bin/pixi", "/usr/local/bin/pixi")
        layers: list[LayerSpec] = [layer]
        if not any(step.layer == binary for step in self.steps):
            layers.insert(0, binary)
        environment = f"{PIXI_PROJECT}/.pixi/envs/{layer.environment}"
        env = {
            **dict(self.context.env),
            "VIRTUAL_ENV": environment,
            "UV_PYTHON": f"{environment}/bin/python",
            "PIXI_PROJECT_MANIFEST": f"{PIXI_PROJECT}/{layer.manifest}",
            "PATH": f"{environment}/bin:{dict(self.context.env)['PATH']}",
        }
        steps = (Step(item, self.context, origin) for item in layers)
        return self._next(*steps, context=replace(self.context, env=tuple(env.items())))

    def _next(self, *steps: Step, context: RuntimeConfig | None = None, user: str | None = None) -> Prefix:
        return Prefix(self.images, self.user if user is None else user, context or self.context, (*self.steps, *steps))

    def _expand_path(self, path: str) -> str:
        return _expand(path, dict(self.context.env), f"the path `{path}`")

    def _absolute(self, path: str) -> str:
        joined = posixpath.join(self.context.workdir, path)
        # POSIX leaves it open what two slashes at the start mean; here they are one.
        return posixpath.normpath("/" + joined.lstrip("/"))


@lru_cache(maxsize=1024)
def _as_user(context: RuntimeConfig, user: str) -> RuntimeConfig:
    return replace(context, user=user)


def _expand(text: str, values: Mapping[str, str], what: str) -> str:
    try:
        return expand(text, values)
    except ExpansionError as error:
        raise ExpansionError(f"`{error}` in {what}") from error
