"""What each kind of layer does to a file system, in LLB.

Each kind has one function here; a change of what it emits raises the kind's number in
`flytebuild.spec.layers.EMITTERS`. Projects are in `flytebuild.llb.projects`.
"""

from __future__ import annotations

import posixpath
import shlex

from flytebuild.llb import projects
from flytebuild.llb.file import FIXED_TIME, Owner, copy, make_file, make_folder
from flytebuild.llb.run import BindMount, CacheMount
from flytebuild.llb.source import image, local, pinned
from flytebuild.llb.state import State
from flytebuild.llb.step import Step, of_its_own, pip_arguments, shell, text
from flytebuild.spec.images import Platform
from flytebuild.spec.layers import (
    AptPackages,
    Binary,
    Command,
    Copy,
    Dockerfile,
    Folder,
    LayerSpec,
    Pinned,
    PipPackages,
    PixiProject,
    PoetryProject,
    Requirements,
    UvProject,
    Venv,
    Wheels,
)

REQUIREMENTS = "/run/flytebuild-requirements"
WHEELS = "/run/flytebuild-wheels"
PINS = "/run/flytebuild-pins.txt"

_APT_HOOK = "/etc/apt/apt.conf.d/docker-clean"
_APT_KEEPS = b'APT::Keep-Downloaded-Packages "true";\n'


def applied(layer: LayerSpec, step: Step, distribution: str) -> State:
    """What a layer makes of the state of its step; `distribution` names the base, for what steps keep between builds.

    Raises ValueError for a Dockerfile.
    """
    match layer:
        case Binary():
            # By one name, since BuildKit may find what is copied and look at the image alone.
            binary = image(pinned(layer.image), step.platform, name=step.name)
            return copy(step.state, binary, layer.source, layer.path, step.platform, name=step.name)
        case Venv():
            return step.run_uv(shell(_venv_script(layer)))
        case PipPackages(requirements=()) if not layer.options.extra_args:
            # A list that came out empty: nothing to install, which uv would refuse.
            return step.state
        case PipPackages():
            arguments = pip_arguments(step, layer.options, *layer.requirements)
            return step.install_packages(arguments, secrets=layer.options.secrets)
        case Requirements():
            return _requirements(step, layer)
        case Wheels():
            return _wheels(step, layer)
        case Pinned(pins=()):
            return step.state
        case Pinned():
            return _pinned(step, layer)
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
            owner = owner_of(layer, step.state)
            return make_folder(step.state, layer.path, step.platform, name=step.name, owner=owner)
        case Dockerfile():
            raise ValueError("a Dockerfile is an image of its own")


def binary_alone(layer: Binary, platform: Platform) -> State:
    """A binary as a layer of its own, the same whenever it is made.

    The second copy gives the folders above it a fixed time as well: they have just been made, or written to.
    """
    found = image(pinned(layer.image), platform, name=layer.summary)
    placed = copy(None, found, layer.source, layer.path, platform, name=layer.summary)
    return copy(None, placed, "/", "/", platform, name=layer.summary, contents_only=True, time=FIXED_TIME)


def python_in(venv: str) -> str:
    """The Python of a virtual environment."""
    return f"{venv}/bin/python"


def _venv_script(layer: Venv) -> str:
    python = python_in(layer.path)
    return f"test -x {python} || uv venv --python={layer.python} {layer.path}"


def _requirements(step: Step, layer: Requirements) -> State:
    """uv works in the file's own folder: paths of packages in it are relative to that.

    Some backends write into the source that they build.
    """
    place = of_its_own(REQUIREMENTS, layer.tree)
    # Not as the step's working folder: that is made in the image before anything is mounted there.
    folder = posixpath.join(place, posixpath.dirname(layer.file)).rstrip("/")
    what = ("--directory", folder, "--requirement", posixpath.basename(layer.file))
    files = BindMount(place, local(layer.tree, name=layer.summary), writable=True)
    arguments = pip_arguments(step, layer.options, *what)
    return step.install_packages(arguments, binds=(files,), secrets=layer.options.secrets)


def _wheels(step: Step, layer: Wheels) -> State:
    """First whatever the package needs, then the package itself from the folder, whatever else an index offers."""
    known = ("--find-links", WHEELS)
    first = pip_arguments(step, layer.options, *known, layer.package)
    second = pip_arguments(step, layer.options, *known, "--no-deps", "--no-index", "--reinstall", layer.package)
    files = BindMount(WHEELS, local(layer.tree, name=layer.summary))
    arguments = shell(f"{text(first)} && {text(second)}")
    return step.install_packages(arguments, binds=(files,), secrets=layer.options.secrets)


def _pinned(step: Step, layer: Pinned) -> State:
    """Exactly these wheels, whose hashes uv checks; what they need is among them or below."""
    lines = (f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n" for pin in layer.pins)
    file = make_file(None, "/pins.txt", "".join(lines).encode(), step.platform, name=f"pins of {layer.summary}")
    what = ("--no-deps", "--require-hashes", "--requirement", PINS)
    arguments = pip_arguments(step, layer.options, *what)
    binds = (BindMount(PINS, file, "/pins.txt"),)
    return step.install_packages(arguments, binds=binds, secrets=layer.options.secrets)


def _apt(step: Step, layer: AptPackages, distribution: str) -> State:
    """apt locks its folders and fails where they are locked, so a step has its caches for itself.

    One that finds them in use gets others instead of waiting: steps of several images run at the same time.

    Debian's images have a hook that removes what was downloaded; in these steps there is something else in its place.
    """
    kept = make_file(None, "/keep", _APT_KEEPS, step.platform, name="settings of apt")
    quiet = step.with_env(DEBIAN_FRONTEND="noninteractive")
    packages = shlex.join(layer.packages)
    name = f"{distribution}-{step.platform.architecture}"
    return quiet.run(
        shell(f"apt-get update && apt-get install -y --no-install-recommends {packages}"),
        binds=(BindMount(_APT_HOOK, kept, "/keep"),),
        caches=(
            CacheMount("/var/cache/apt", f"flytebuild-apt-{name}", "private"),
            CacheMount("/var/lib/apt/lists", f"flytebuild-apt-lists-{name}", "private"),
        ),
        secrets=layer.secrets,
    )


def _copy(step: Step, layer: Copy) -> State:
    files = local(layer.tree, name=layer.summary)
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
        owner=owner_of(layer, step.state),
        time=FIXED_TIME,
    )


def owner_of(layer: Copy | Folder, state: State) -> Owner:
    """A folder's is `user` or `user:group`, a copy's both of them by one name; names are those of the image."""
    text = f"{layer.owner}:{layer.owner}" if isinstance(layer, Copy) and layer.owner else layer.owner
    user, colon, group = text.partition(":")
    return Owner(_identity(user or "0"), _identity(group) if colon else None, state)


def _identity(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
