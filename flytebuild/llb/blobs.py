"""Which operations an image's layers come from: BuildKit makes one layer of each that changes a file system."""

from __future__ import annotations

from flytebuild.llb.state import State

_NOTHING = -1


def blobs(state: State) -> tuple[str, ...]:
    """The digests of the vertices whose layers a state has, the lowest first, without those of images it is made from.

    Raises ValueError for a `diff` of states of which neither is made on top of the other: BuildKit compares them.
    """
    return _blobs(state, {})


def _blobs(state: State, known: dict[State, tuple[str, ...]]) -> tuple[str, ...]:
    if state not in known:
        known[state] = _below(state, known)
    return known[state]


def _below(state: State, known: dict[State, tuple[str, ...]]) -> tuple[str, ...]:
    vertex, inputs = state.vertex, state.vertex.inputs
    match vertex.operation.WhichOneof("op"):
        case "merge":
            return tuple(blob for item in inputs for blob in _blobs(item, known))
        case "diff":
            lower, upper = (_blobs(item, known) for item in inputs)
            if upper[: len(lower)] != lower:
                raise ValueError(f"`{vertex.name}` is no part of what it is taken from")
            return upper[len(lower) :]
        case "exec":
            changed = next(item.input for item in vertex.operation.exec.mounts if item.output == state.index)
        case "file":
            changed = vertex.operation.file.actions[0].input
        case _:
            return ()
    return (*(_blobs(inputs[changed], known) if changed != _NOTHING else ()), vertex.digest)
