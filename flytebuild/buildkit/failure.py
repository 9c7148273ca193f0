"""What BuildKit's errors mean.

Details come in the `grpc-status-details-bin` trailer as a `google.rpc.Status` whose details are JSON, keyed by type
(buildkit `util/grpcerrors`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import grpc

from flytebuild.buildkit._pb import session_pb2

_TRAILER = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed solve: which vertex, the process's exit code where one ran, and BuildKit's own sentence."""

    message: str
    vertex: str | None = None
    exit_code: int | None = None
    is_unavailable: bool = False


def read(error: grpc.RpcError) -> Failure:
    """Read a failed call."""
    vertex, exit_code = None, None
    for key, value in error.trailing_metadata() or ():
        if key != _TRAILER:
            continue
        for detail in session_pb2.Status.FromString(value).details:
            try:
                content = json.loads(detail.value)
            except ValueError:
                continue
            if detail.type_url.endswith("errdefs.Vertex+json"):
                vertex = content.get("digest")
            elif detail.type_url.endswith("ExitMessage+json"):
                exit_code = content.get("Code")
    return Failure(
        message=(error.details() or str(error.code())).strip(),
        vertex=vertex,
        exit_code=exit_code,
        is_unavailable=error.code() is grpc.StatusCode.UNAVAILABLE,
    )
