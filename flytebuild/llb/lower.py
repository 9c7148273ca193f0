"""From an image spec to LLB: how we get what the user asked for.

What each kind of layer does is in `flytebuild.llb.kinds`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from msgspec.structs import replace

from flytebuild.llb.kinds import applied, binary_alone, owner_of, python_in
from flytebuild.llb.merge import diff, merge
from flytebuild.llb.outline import Place, Surveyor, outline
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.source import image, pinned
from flytebuild.llb.stack import Stack
from flytebuild.llb.state import State
from flytebuild.llb.step import Step
from flytebuild.llb.tail import has_environment, is_apart, place_of, tail_of
from flytebuild.llb.wheels import wheel_layer
from flytebuild.spec.layers import Binary, Copy, Folder, Pinned
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.prefix import VENV
from flytebuild.spec.step import Step as SpecStep


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
    return next((binary_alone(layer, spec.platform) for layer in alone), None)


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
                stack = stack.with_apart((binary_alone(layer, spec.platform),))
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
    return applied(step.layer, placed, (base or "").removeprefix("sha256:")[:12])


def _outline(spec: ImageSpec, start: int, stacks: Sequence[Stack]) -> State:
    """The outline of what is below the tail, for the steps of that; the virtual environment's Python draws it."""
    number = next(n for n, step in enumerate(spec.steps) if has_environment(step.layer))
    surveyor = Surveyor(stacks[number + 1].below, python_in(VENV), spec.steps[number].context)
    stack = stacks[-1]
    layers = [step.layer for step in spec.steps[start:] if isinstance(step.layer, Copy | Folder)]
    owners = [owner_of(layer, stack.below) for layer in layers]
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
