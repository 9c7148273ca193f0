"""Requests that no daemon takes since they are too large, and what makes them so.

A daemon refuses a message of more than 4 MiB (those from BuildKit 0.14 on, of more than 16 MiB) by two numbers. What to
do about it depends on which part is large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flytebuild.buildkit._pb import control_pb2, ops_pb2
from flytebuild.buildkit.failure import Failure

LARGEST = 4 * 1024 * 1024
"""Bytes of a message that every daemon takes."""

_SHOWN = 60


def find_excess(request: control_pb2.SolveRequest) -> Failure | None:
    """Why a request cannot be sent, or None. The vertex is named where a step is the largest part of it."""
    size = request.ByteSize()
    if size <= LARGEST:
        return None
    largest, what, vertex = max(_parts(request), key=lambda part: part[0])
    return Failure(
        f"The request to build this has {_mebibytes(size)}, and BuildKit takes no more than {_mebibytes(LARGEST)}; "
        f"the largest part of it is {what} with {_mebibytes(largest)}",
        vertex=vertex,
        hint="long texts belong into files that are copied: those are sent apart from the request" if vertex else "",
    )


def name_of(request: control_pb2.SolveRequest, vertex: str) -> str:
    """What a person reads of a vertex in a request."""
    return next(name for name in (_name(item, vertex) for item in _definitions(request)) if name)


def _parts(request: control_pb2.SolveRequest) -> Iterator[tuple[int, str, str | None]]:
    for definition in _definitions(request):
        for encoded in definition.ops:
            digest = "sha256:" + hashlib.sha256(encoded).hexdigest()
            name = _name(definition, digest)
            line = name.partition("\n")[0]
            shown = line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
            yield len(encoded) + len(name.encode()), f"the step `{shown}`", digest
    yield sum(map(_size, request.frontend_attrs.items())), "the list of labels and images", None
    for exporter in request.exporters:
        yield sum(map(_size, exporter.attrs.items())), "the image's own settings and labels", None


def _definitions(request: control_pb2.SolveRequest) -> tuple[ops_pb2.Definition, ...]:
    return (request.definition, *request.frontend_inputs.values())


def _name(definition: ops_pb2.Definition, digest: str) -> str:
    return str(definition.metadata[digest].description["llb.customname"]) if digest in definition.metadata else ""


def _size(pair: tuple[str, str]) -> int:
    return sum(len(text.encode()) for text in pair)


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"
