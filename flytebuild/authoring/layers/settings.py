"""Settings: environment, working directory, labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

import flyte
from flyte._image import Env, WorkDir, _DockerLines

from flytebuild.authoring import credentials, dockerlines
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.layers.options import refuse_null
from flytebuild.authoring.site import Site
from flytebuild.spec.model import Part, SetEnv, SetWorkDir

_NAME = re.compile(r"[^=\0\s]+")


def env(layer: Env, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    """Environment variables."""
    for name, value in layer.env_vars:
        if not _NAME.fullmatch(name):
            raise site.error(
                f"`{name}` is not the name of an environment variable", hint="it must not hold `=` or blanks"
            )
        if not isinstance(value, str):
            raise site.error(f"the value of `{name}` is a `{type(value).__name__}`", hint="write it as a string")
        refuse_null(value, site)
        if credentials.find(value):
            raise site.error(
                f"the value of `{name}` is a URL with credentials", hint="use a `flyte.Secret` of the task"
            )
    yield SetEnv(tuple(layer.env_vars))


def workdir(layer: WorkDir, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    """The working directory."""
    refuse_null(layer.workdir, site)
    if not layer.workdir.strip():
        raise site.error("the working directory is empty", hint="write `/` for the root folder")
    yield SetWorkDir(layer.workdir)


def docker_lines(layer: _DockerLines, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    """Lines of a Dockerfile that the SDK's own default images hold."""
    for line in layer.lines:
        yield from dockerlines.settings(line, site)
