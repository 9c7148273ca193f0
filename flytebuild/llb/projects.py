"""Lowering of projects: uv, Poetry, pixi.

A project's files are mounted while it is installed and are no part of the image, except for pixi's, whose environments
live below them. So nothing is installed as editable, which would point to files that are gone.
"""

from __future__ import annotations

import posixpath
import shlex

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.llb.file import FIXED_TIME, Copy, change, make_files
from flytebuild.llb.run import BindMount, CacheMount
from flytebuild.llb.source import local
from flytebuild.llb.state import State
from flytebuild.llb.step import SCRATCH, Step, has_option, index_arguments, of_its_own, shell, text, with_extra
from flytebuild.spec.layers import LocalPackage, PixiProject, PoetryProject, UvProject
from flytebuild.spec.prefix import PIXI_PROJECT
from flytebuild.spec.tree import Tree

PROJECT = "/run/flytebuild-project"
POETRY_CACHE = CacheMount("/tmp/poetry_cache", "flytebuild-poetry", "shared")  # noqa: S108 - a path in the image
PIXI_CACHE = CacheMount("/root/.cache/rattler", "flytebuild-pixi", "shared")

_ONCE = ("--active", "--inexact", "--no-editable", "--no-install-project", "--locked")
"""Options that uv takes once only: those that the user gives are not given again."""

_OTHERWISE_LOCKED = ("--frozen", "--no-locked", "--upgrade", "-U", "--upgrade-package", "-P")
"""Options of uv that say what becomes of the lock, and exclude `--locked`."""


class _Place(Struct, frozen=True):
    """Where a project is while it is installed, and the mounts that put it there."""

    folder: str
    binds: tuple[BindMount, ...]


def uv(step: Step, layer: UvProject) -> State:
    """`uv sync` into the active environment, which keeps what else is in it."""
    place = _place(step, layer.tree, layer.packages)
    options = layer.options
    arguments = ["uv", "sync", "--active", "--inexact", "--project", place.folder, "--no-editable"]
    if layer.mode == "dependencies_only":
        arguments += ["--no-install-project"]
    if layer.locked and not has_option(options.extra_args, *_OTHERWISE_LOCKED):
        arguments += ["--locked"]
    arguments = [item for item in arguments if item not in _ONCE or not has_option(options.extra_args, item)]
    arguments += index_arguments(options)
    if options.pre:
        arguments += ["--prerelease", "allow"]
    active = _active(step)
    return active.install_project(
        with_extra(arguments, options.extra_args),
        _python(active),
        binds=place.binds,
        secrets=options.secrets,
    )


def poetry(step: Step, layer: PoetryProject) -> State:
    """`poetry install` into the active environment, by a Poetry that is not installed there itself.

    Poetry would install the project as editable, and has no option for that: uv installs it. Which packages of folders
    are to be editable is asked of the lock.
    """
    place = _place(step, layer.tree, layer.packages)
    active = _active(step)
    no_editable = ("sed", "-i", "s/^develop = true$/develop = false/", f"{place.folder}/poetry.lock")
    arguments = ["uv", "tool", "run", "--from", f"poetry=={layer.version}", "poetry"]
    arguments += ["install", "--no-interaction", "--directory", place.folder]
    has_root = layer.mode == "install_project" and not has_option(layer.extra_args, "--no-root")
    if not has_option(layer.extra_args, "--no-root"):
        arguments += ["--no-root"]
    commands = [shlex.join(no_editable), text(with_extra(arguments, layer.extra_args))]
    if has_root:
        root = ("uv", "pip", "install", "--python", _python(active), "--no-deps")
        commands += [shlex.join((*root, place.folder))]
    command = shell("\n".join(("set -e", *commands)))
    quiet = active.with_env(POETRY_CACHE_DIR=POETRY_CACHE.target, XDG_CACHE_HOME=SCRATCH.target)
    return quiet.install_project(
        command, _python(active), binds=place.binds, caches=(POETRY_CACHE,), secrets=layer.secrets
    )


def pixi(step: Step, layer: PixiProject) -> State:
    """The project's files below `/opt/pixi-project`, then `pixi install` there."""
    state = step.state
    if layer.texts:
        files = {f"{PIXI_PROJECT}/{name}": text.encode() for name, text in layer.texts}
        state = make_files(state, files, step.platform, name=f"{layer.manifest} of a script")
    trees = [(PIXI_PROJECT, layer.tree)] if layer.tree else []
    trees += [(_below(PIXI_PROJECT, package.path), package.tree) for package in layer.packages]
    if trees:
        copies = [
            Copy(local(tree, name=layer.summary), "/", target + "/", contents_only=True, time=FIXED_TIME)
            for target, tree in trees
        ]
        state = change(state, copies, step.platform, name=f"files of {layer.summary}")
    arguments = ["pixi", "install", "--manifest-path", f"{PIXI_PROJECT}/{layer.manifest}"]
    arguments += ["--environment", layer.environment]
    if layer.locked and not has_option(layer.extra_args, "--locked", "--frozen"):
        arguments += ["--locked"]
    command = with_extra(arguments, layer.extra_args)
    return replace(step, state=state).run(command, caches=(PIXI_CACHE,), secrets=layer.secrets)


def _place(step: Step, tree: Tree, packages: tuple[LocalPackage, ...]) -> _Place:
    """A folder of its own, with the packages that the project takes from others where it expects them."""
    files = local(tree, name="project files")
    top = of_its_own(PROJECT, tree, *(item.tree for item in packages))
    if not packages:
        return _Place(top, (BindMount(top, files, writable=True),))
    # Packages beside the project, `../library`: the project lies deep enough for their paths to stay below ours.
    inside = "/project" * (1 + max(item.path.count("..") for item in packages))
    copies = [Copy(files, "/", inside + "/", contents_only=True, time=FIXED_TIME)]
    for item in packages:
        source = local(item.tree, name=f"package {item.path}")
        copies.append(Copy(source, "/", _below(inside, item.path) + "/", contents_only=True, time=FIXED_TIME))
    together = change(None, copies, step.platform, name="project files")
    return _Place(top + inside, (BindMount(top, together, writable=True),))


def _active(step: Step) -> Step:
    """The environment that is installed into: the one that is active in the image, else ours."""
    env = step.env
    return step.with_env(VIRTUAL_ENV=env.get("VIRTUAL_ENV") or env["VIRTUALENV"])


def _python(active: Step) -> str:
    return f"{active.env['VIRTUAL_ENV']}/bin/python"


def _below(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))
