"""Lowering of projects: uv, Poetry, pixi.

A project's files are mounted while it is installed and are no part of the image, except for pixi's, whose environments
live below them. Editable packages keep pointing to where they were: below the working directory, where a task finds
its code.
"""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass, replace

from flytebuild.llb.file import FIXED_TIME, Copy, change, make_files
from flytebuild.llb.run import BindMount, CacheMount
from flytebuild.llb.source import local
from flytebuild.llb.state import State
from flytebuild.llb.step import SCRATCH, Step, has_option, index_arguments, shell, text, with_extra
from flytebuild.spec.layers import LocalPackage, PixiProject, PoetryProject, UvProject
from flytebuild.spec.specify import PIXI_PROJECT
from flytebuild.spec.tree import Tree

PROJECT = "/run/flytebuild-project"
POETRY_CACHE = CacheMount("/tmp/poetry_cache", "flytebuild-poetry", "shared")  # noqa: S108 - a path in the image
PIXI_CACHE = CacheMount("/root/.cache/rattler", "flytebuild-pixi", "shared")

_ONCE = ("--active", "--inexact", "--no-editable", "--no-install-project", "--locked")
"""Options that uv takes once only: those that the user gives are not given again."""

_OTHERWISE_LOCKED = ("--frozen", "--no-locked", "--upgrade", "-U", "--upgrade-package", "-P")
"""Options of uv that say what becomes of the lock, and exclude `--locked`."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a project is while it is installed, and the mounts that put it there."""

    folder: str
    binds: tuple[BindMount, ...]


def uv(step: Step, layer: UvProject) -> State:
    """`uv sync` into the active environment, which keeps what else is in it."""
    place = _place(step, layer.tree, layer.packages, layer.mode == "dependencies_only")
    options = layer.options
    arguments = ["uv", "sync", "--active", "--inexact", "--project", place.folder]
    arguments += ["--no-editable" if layer.mode == "install_project" else "--no-install-project"]
    if layer.locked and not has_option(options.extra_args, *_OTHERWISE_LOCKED):
        arguments += ["--locked"]
    arguments = [item for item in arguments if item not in _ONCE or not has_option(options.extra_args, item)]
    arguments += index_arguments(options)
    if options.pre:
        arguments += ["--prerelease", "allow"]
    command = with_extra(arguments, options.extra_args)
    return _active(step).run_uv(command, binds=place.binds, secrets=options.secrets)


def poetry(step: Step, layer: PoetryProject) -> State:
    """`poetry install` into the active environment, by a Poetry that is not installed there itself.

    Poetry would install the project as editable, so that it pointed to files that are gone: uv installs that.
    """
    place = _place(step, layer.tree, layer.packages, layer.mode == "dependencies_only")
    active = _active(step)
    arguments = ["uv", "tool", "run", "--from", f"poetry=={layer.version}", "poetry"]
    arguments += ["install", "--no-interaction", "--directory", place.folder]
    has_root = layer.mode == "install_project" and "--no-root" not in layer.extra_args
    if "--no-root" not in layer.extra_args:
        arguments += ["--no-root"]
    command = with_extra(arguments, layer.extra_args)
    if has_root:
        root = ("uv", "pip", "install", "--python", f"{active.env['VIRTUAL_ENV']}/bin/python", "--no-deps")
        command = shell("\n".join(("set -e", text(command), shlex.join((*root, place.folder)))))
    quiet = active.with_env(POETRY_CACHE_DIR=POETRY_CACHE.target, XDG_CACHE_HOME=SCRATCH.target)
    return quiet.run_uv(command, binds=place.binds, caches=(POETRY_CACHE,), secrets=layer.secrets)


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


def _place(step: Step, tree: Tree, packages: tuple[LocalPackage, ...], is_dependencies_only: bool) -> _Place:
    """A folder of its own; where packages of the project stay editable, the working directory.

    Single files are mounted there, since its content must stay to be seen.
    """
    files = local(tree, name="project files")
    if is_dependencies_only and packages:
        folder = step.context.workdir
        single = [
            BindMount(_below(folder, entry.path), files, "/" + entry.path, writable=True) for entry in tree.entries
        ]
        binds = [
            BindMount(_below(folder, item.path), local(item.tree, name=f"package {item.path}"), writable=True)
            for item in packages
        ]
        return _Place(folder, (*single, *binds))
    if not packages:
        return _Place(PROJECT, (BindMount(PROJECT, files, writable=True),))
    # Packages beside the project, `../library`: the project lies deep enough for their paths to stay below ours.
    inside = "/project" * (1 + max(item.path.count("..") for item in packages))
    copies = [Copy(files, "/", inside + "/", contents_only=True, time=FIXED_TIME)]
    for item in packages:
        source = local(item.tree, name=f"package {item.path}")
        copies.append(Copy(source, "/", _below(inside, item.path) + "/", contents_only=True, time=FIXED_TIME))
    together = change(None, copies, step.platform, name="project files")
    return _Place(PROJECT + inside, (BindMount(PROJECT, together, writable=True),))


def _active(step: Step) -> Step:
    """The environment that is installed into: the one that is active in the image, else ours."""
    env = step.env
    return step.with_env(VIRTUAL_ENV=env.get("VIRTUAL_ENV") or env["VIRTUALENV"])


def _below(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))
