"""From an image spec to LLB: how we get what the user asked for.

Each kind of layer has one function here; a change of what it emits raises the kind's number in
`flytebuild.spec.layers.EMITTERS`. Projects are in `flytebuild.llb.projects`.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence, Set

from msgspec.structs import replace

from flytebuild.llb import projects
from flytebuild.llb.file import FIXED_TIME, Owner, copy, make_file, make_folder
from flytebuild.llb.merge import diff, merge
from flytebuild.llb.outline import Place, Surveyor, outline
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.run import BindMount, CacheMount
from flytebuild.llb.source import image, local, pinned
from flytebuild.llb.stack import Stack
from flytebuild.llb.state import State
from flytebuild.llb.step import Step, of_its_own, pip_arguments, shell, text
from flytebuild.llb.tail import has_environment, is_apart, place_of, tail_of
from flytebuild.llb.wheels import wheel_layer
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
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.prefix import VENV
from flytebuild.spec.step import Step as SpecStep

REQUIREMENTS = "/run/flytebuild-requirements"
WHEELS = "/run/flytebuild-wheels"
PINS = "/run/flytebuild-pins.txt"

_APT_HOOK = "/etc/apt/apt.conf.d/docker-clean"
_APT_KEEPS = b'APT::Keep-Downloaded-Packages "true";\n'


def lower(
    spec: ImageSpec, *, has_bundle: bool = False, can_merge: bool = True, proxies: Proxies | None = None
) -> State:
    """The file system of an image. The spec must be resolved: an image without a digest cannot be a source.

    `has_bundle` says whether the session has a CA bundle for steps to trust, `can_merge` whether BuildKit merges
    layers without unpacking them: files that no step sees are then put on top of the image instead of copied onto it.
    `proxies` are no part of what BuildKit knows a result by.

    Raises ValueError for an image by a Dockerfile, which BuildKit's own frontend makes.
    """
    return _states(spec, has_bundle, can_merge, proxies or Proxies())[-1]


def beginning(spec: ImageSpec, *, has_bundle: bool = False, proxies: Proxies | None = None) -> State:
    """What there is of an image before its packages are installed: the base and what is made of it.

    Of one whose base nobody has to look into it is what is put on top of that.
    """
    count = next((n for n, step in enumerate(spec.steps) if has_environment(step.layer)), -1) + 1
    stack = _stacks(spec, spec.steps[:count], has_bundle, True, proxies or Proxies())[-1]
    return stack.apart[-1] if stack.apart else stack.below


def program_alone(spec: ImageSpec) -> State | None:
    """The layer that holds the program of uv and nothing else; None where that is copied onto the image."""
    alone = (step.layer for step in spec.steps if isinstance(step.layer, Binary) and step.layer.is_apart)
    return next((_binary_alone(layer, spec.platform) for layer in alone), None)


def origins(
    spec: ImageSpec, *, has_bundle: bool = False, can_merge: bool = True, proxies: Proxies | None = None
) -> dict[str, str]:
    """Where the user asked for each operation of what `lower` gives, `file:line` by the vertex's digest."""
    steps = steps_of(spec, has_bundle=has_bundle, can_merge=can_merge, proxies=proxies)
    return {digest: spec.steps[number].origin for digest, number in steps.items() if spec.steps[number].origin}


def steps_of(
    spec: ImageSpec, *, has_bundle: bool = False, can_merge: bool = True, proxies: Proxies | None = None
) -> dict[str, int]:
    """Which step of the image each operation of what `lower` gives belongs to, by the vertex's digest."""
    found: dict[str, int] = {}
    below, *states = _states(spec, has_bundle, can_merge, proxies or Proxies())
    known = _vertices(below, set())
    for number, state in enumerate(states):
        made = _vertices(state, known)
        known |= made
        found.update(dict.fromkeys(made, number))
    return found


def _states(spec: ImageSpec, has_bundle: bool, can_merge: bool, proxies: Proxies) -> list[State]:
    """The base, and what each step leaves: of the tail on the outline, and at the very end on the image."""
    start = tail_of([step.layer for step in spec.steps]) if can_merge else len(spec.steps)
    stacks = _stacks(spec, spec.steps[:start], has_bundle, can_merge, proxies)
    states = [stack.whole for stack in stacks]
    if start < len(spec.steps):
        state = empty = _outline(spec, start, stacks)
        for step in spec.steps[start:]:
            state = _after(step, state, spec, has_bundle, proxies)
            states.append(state)
        files = diff(empty, state, name="copied files")
        states[-1] = merge((stacks[-1].whole, files), name="copied files on top of the image")
    return states


def _stacks(
    spec: ImageSpec, steps: Sequence[SpecStep], has_bundle: bool, can_merge: bool, proxies: Proxies
) -> list[Stack]:
    """The base, and what each of these steps, the image's first ones, leaves."""
    if spec.base is None:
        raise ValueError(f"`{spec.name}` is made by a Dockerfile")
    stack = Stack(image(pinned(spec.base), spec.platform, name=f"base {spec.base.reference}"))
    stacks = [stack]
    for step in steps:
        match step.layer:
            case Binary(is_apart=True) as layer if can_merge:
                stack = stack.with_apart((_binary_alone(layer, spec.platform),))
            case Pinned(layers=layers) if layers and can_merge:
                stack = stack.with_apart(map(wheel_layer, layers))
            case Folder(path=path) if is_apart(Place(path), VENV):
                stack = replace(stack, below=_after(step, stack.below, spec, has_bundle, proxies))
            case _:
                made = _after(step, stack.whole, spec, has_bundle, proxies)
                stack = stack if made == stack.whole else Stack(made)
        stacks.append(stack)
    return stacks


def _after(step: SpecStep, state: State, spec: ImageSpec, has_bundle: bool, proxies: Proxies) -> State:
    """What a step makes of a file system."""
    base = spec.base.digest if spec.base else None
    placed = Step(state, step.context, spec.platform, step.layer.summary, has_bundle, proxies)
    return _layer(placed, step.layer, (base or "").removeprefix("sha256:")[:12])


def _outline(spec: ImageSpec, start: int, stacks: Sequence[Stack]) -> State:
    """The outline of what is below the tail, for the steps of that; the virtual environment's Python draws it."""
    number = next(n for n, step in enumerate(spec.steps) if has_environment(step.layer))
    surveyor = Surveyor(stacks[number + 1].below, _python(VENV), spec.steps[number].context)
    stack = stacks[-1]
    layers = [step.layer for step in spec.steps[start:] if isinstance(step.layer, Copy | Folder)]
    owners = [_owner(layer, stack.below) for layer in layers]
    # So that what images have in common is copied once, also where each has more files of its own elsewhere.
    usual = (Place("/"), Place(spec.base.config.workdir if spec.base else "/"))
    places = [place_of(layer) for layer in layers]
    # What is made apart need not be looked into for files that go elsewhere.
    alone = (VENV, *(step.layer.path for step in spec.steps if isinstance(step.layer, Binary) and step.layer.is_apart))
    is_elsewhere = all(is_apart(place, path) for place in (*places, *usual) for path in alone)
    image = stack.below if is_elsewhere else stack.whole
    return outline(image, places, usual, owners, surveyor, spec.platform)


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
            owner = _owner(layer, step.state)
            return make_folder(step.state, layer.path, step.platform, name=step.name, owner=owner)
        case Dockerfile():
            raise ValueError("a Dockerfile is an image of its own")


def _binary_alone(layer: Binary, platform: Platform) -> State:
    """A binary as a layer of its own, the same whenever it is made.

    The second copy gives the folders above it a fixed time as well: they have just been made, or written to.
    """
    found = image(pinned(layer.image), platform, name=layer.summary)
    placed = copy(None, found, layer.source, layer.path, platform, name=layer.summary)
    return copy(None, placed, "/", "/", platform, name=layer.summary, contents_only=True, time=FIXED_TIME)


def _python(venv: str) -> str:
    return f"{venv}/bin/python"


def _venv_script(layer: Venv) -> str:
    python = _python(layer.path)
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
        owner=_owner(layer, step.state),
        time=FIXED_TIME,
    )


def _owner(layer: Copy | Folder, state: State) -> Owner:
    """A folder's is `user` or `user:group`, a copy's both of them by one name; names are those of the image."""
    text = f"{layer.owner}:{layer.owner}" if isinstance(layer, Copy) and layer.owner else layer.owner
    user, colon, group = text.partition(":")
    return Owner(_identity(user or "0"), _identity(group) if colon else None, state)


def _identity(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
