"""From an image spec to LLB: how we get what the user asked for.

Each kind of layer has one function here; a change of what it emits raises the kind's number in
`flytebuild.spec.layers.EMITTERS`. Projects are in `flytebuild.llb.projects`.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Set

from flytebuild.llb import projects
from flytebuild.llb.file import FIXED_TIME, Owner, copy, make_folder
from flytebuild.llb.run import BindMount, CacheMount
from flytebuild.llb.source import image, local
from flytebuild.llb.state import State
from flytebuild.llb.step import Step, pip_arguments, shell, text
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import (
    AptPackages,
    Binary,
    Command,
    Copy,
    Dockerfile,
    Folder,
    LayerSpec,
    PipPackages,
    PixiProject,
    PoetryProject,
    Requirements,
    UvProject,
    Venv,
    Wheels,
)
from flytebuild.spec.model import ImageSpec

REQUIREMENTS = "/run/flytebuild-requirements"
WHEELS = "/run/flytebuild-wheels"


def lower(spec: ImageSpec, *, has_bundle: bool = False) -> State:
    """The file system of an image. The spec must be resolved: an image without a digest cannot be a source.

    `has_bundle` says whether the session has a CA bundle for steps to trust.

    Raises ValueError for an image by a Dockerfile, which BuildKit's own frontend makes.
    """
    return _states(spec, has_bundle)[-1]


def origins(spec: ImageSpec, *, has_bundle: bool = False) -> dict[str, str]:
    """Where the user asked for each operation of what `lower` gives, `file:line` by the vertex's digest."""
    found: dict[str, str] = {}
    below, *states = _states(spec, has_bundle)
    known = _vertices(below, set())
    for step, state in zip(spec.steps, states, strict=True):
        made = _vertices(state, known)
        known |= made
        found.update(dict.fromkeys(made, step.origin))
    return {digest: origin for digest, origin in found.items() if origin}


def pinned(resolved: ResolvedImage) -> str:
    """Where an image is fetched from, with the digest that it was found to have."""
    if resolved.digest is None:
        raise ValueError(f"{resolved.reference} is not resolved")
    name = resolved.location.partition("@")[0]
    host, slash, path = name.rpartition("/")
    return f"{host}{slash}{path.partition(':')[0]}@{resolved.digest}"


def _states(spec: ImageSpec, has_bundle: bool) -> list[State]:
    """The base, and what each step leaves."""
    if spec.base is None:
        raise ValueError(f"`{spec.name}` is made by a Dockerfile")
    states = [_source(spec.base, spec.platform, "base")]
    distribution = (spec.base.digest or "").removeprefix("sha256:")[:12]
    for step in spec.steps:
        placed = Step(states[-1], step.context, spec.platform, step.layer.summary, has_bundle)
        states.append(_layer(placed, step.layer, distribution))
    return states


def _vertices(state: State, known: Set[str]) -> set[str]:
    """The digests of all vertices that a state is made of, but for those that are known with what is below them."""
    found: set[str] = set()
    pending = [state.vertex]
    while pending:
        vertex = pending.pop()
        if vertex.digest not in known and vertex.digest not in found:
            found.add(vertex.digest)
            pending += [item.vertex for item in vertex.inputs]
    return found


def _layer(step: Step, layer: LayerSpec, distribution: str) -> State:
    match layer:
        case Binary():
            binary = _source(layer.image, step.platform, layer.tool)
            return copy(step.state, binary, layer.source, layer.path, step.platform, name=step.name)
        case Venv():
            return step.run_uv(shell(_venv_script(layer)))
        case PipPackages(requirements=()) if not layer.options.extra_args:
            # A list that came out empty: nothing to install, which uv would refuse.
            return step.state
        case PipPackages():
            arguments = pip_arguments(step, layer.options, *layer.requirements)
            return step.run_uv(arguments, secrets=layer.options.secrets)
        case Requirements():
            return _requirements(step, layer)
        case Wheels():
            return _wheels(step, layer)
        case UvProject():
            return projects.uv(step, layer)
        case PoetryProject():
            return projects.poetry(step, layer)
        case PixiProject():
            return projects.pixi(step, layer)
        case AptPackages(packages=()):
            return step.state
        case AptPackages():
            return _apt(step, layer, distribution)
        case Command():
            return step.run(layer.args or shell(layer.shell), secrets=layer.secrets)
        case Copy():
            return _copy(step, layer)
        case Folder():
            return make_folder(step.state, layer.path, step.platform, name=step.name, owner=_owner(layer.owner, step))
        case Dockerfile():
            raise ValueError("a Dockerfile is an image of its own")


def _source(resolved: ResolvedImage, platform: Platform, role: str) -> State:
    return image(pinned(resolved), platform, name=f"{role} {resolved.reference}")


def _venv_script(layer: Venv) -> str:
    python = f"{layer.path}/bin/python"
    return f"test -x {python} || uv venv --python={layer.python} {layer.path}"


def _requirements(step: Step, layer: Requirements) -> State:
    """uv works in the file's own folder: paths of packages in it are relative to that."""
    # Not as the step's working folder: that is made in the image before anything is mounted there.
    folder = posixpath.join(REQUIREMENTS, posixpath.dirname(layer.file)).rstrip("/")
    what = ("--directory", folder, "--requirement", posixpath.basename(layer.file))
    return step.run_uv(
        pip_arguments(step, layer.options, *what),
        binds=(BindMount(REQUIREMENTS, local(layer.tree, name=layer.summary)),),
        secrets=layer.options.secrets,
    )


def _wheels(step: Step, layer: Wheels) -> State:
    """First whatever the package needs, then the package itself from the folder, whatever else an index offers."""
    known = ("--find-links", WHEELS)
    first = pip_arguments(step, layer.options, *known, layer.package)
    second = pip_arguments(step, layer.options, *known, "--no-deps", "--no-index", "--reinstall", layer.package)
    return step.run_uv(
        shell(f"{text(first)} && {text(second)}"),
        binds=(BindMount(WHEELS, local(layer.tree, name=layer.summary)),),
        secrets=layer.options.secrets,
    )


def _apt(step: Step, layer: AptPackages, distribution: str) -> State:
    """apt locks its folders and fails where they are locked, so its caches are one step's at a time."""
    quiet = step.with_env(DEBIAN_FRONTEND="noninteractive")
    packages = shlex.join(layer.packages)
    name = f"{distribution}-{step.platform.architecture}"
    return quiet.run(
        shell(f"apt-get update && apt-get install -y --no-install-recommends {packages}"),
        caches=(
            CacheMount("/var/cache/apt", f"flytebuild-apt-{name}", "locked"),
            CacheMount("/var/lib/apt/lists", f"flytebuild-apt-lists-{name}", "locked"),
        ),
        secrets=layer.secrets,
    )


def _copy(step: Step, layer: Copy) -> State:
    files = local(layer.tree, name=layer.summary)
    owner = _owner(f"{layer.owner}:{layer.owner}" if layer.owner else "", step)
    if layer.into:
        source, destination = "/", layer.destination.rstrip("/") + "/"
    else:
        source, destination = "/" + layer.tree.entries[0].path, layer.destination
    return copy(
        step.state,
        files,
        source,
        destination,
        step.platform,
        name=step.name,
        contents_only=layer.into,
        owner=owner,
        time=FIXED_TIME,
    )


def _owner(text: str, step: Step) -> Owner:
    """`user` or `user:group`; names are those of the image."""
    user, colon, group = text.partition(":")
    return Owner(_identity(user or "0"), _identity(group) if colon else None, step.state)


def _identity(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
