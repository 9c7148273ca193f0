"""What BuildKit's errors mean.

Details come in the `grpc-status-details-bin` trailer as a `google.rpc.Status` whose details are JSON, keyed by type
(buildkit `util/grpcerrors`).
"""

from __future__ import annotations

import json
import re
from typing import Any

import grpc
from msgspec import Struct

from flytebuild.buildkit._pb import session_pb2

_TRAILER = "grpc-status-details-bin"
_SECRET = re.compile(r"secret (.+): not found$", re.DOTALL)
"""What BuildKit says of a required secret that the session does not have (session/secrets)."""

_SENDER = "error from sender: "
"""What BuildKit puts before the sentence with which `session/files.py` ends a transfer (fsutil `receive.go`)."""

_LOST = re.compile(r"could not fetch content descriptor|/manifests/.* 400 Bad Request")
"""A blob that is not where it should be (containerd `remotes/docker/fetcher.go`), or that a manifest names in vain."""

_TORN = re.compile(r"failed to commit \S+ to \S+ during finalize: .*not found")
"""A result that was being kept when its solve was cancelled, as when a client is killed: containerd has moved its
snapshot, and BuildKit has not heard of it (cache/refs.go `finalize`). Whoever needs it fails, until it is made anew.
"""

_SECRET_HINT = "give it a value where this build finds its secrets, and run the same command again"  # noqa: S105
_FILES_HINT = "run the same command again once the file is as it should be"


class Failure(Struct, frozen=True):
    """One failed solve: which vertex, the process's exit code where one ran, and BuildKit's own sentence.

    Where the fault is in what the session offers, the sentence is ours, with a `hint`; `secret` is the id of a
    required secret that it does not have. `is_lost_content` says that a registry lacks what a manifest names,
    `is_torn_cache` that a result which BuildKit remembers is not there. `line` is where in a Dockerfile the vertex
    comes from (`Dockerfile:2`).
    """

    message: str
    vertex: str | None = None
    exit_code: int | None = None
    is_unavailable: bool = False
    hint: str = ""
    secret: str | None = None
    is_lost_content: bool = False
    is_torn_cache: bool = False
    line: str = ""


def read(error: grpc.RpcError) -> Failure:
    """Read a failed call."""
    vertex, exit_code, line = None, None, ""
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
            elif detail.type_url.endswith("errdefs.Source+json"):
                line = _line(content)
    message, hint, secret = _explain((error.details() or str(error.code())).strip())
    return Failure(
        message=message,
        vertex=vertex,
        exit_code=exit_code,
        is_unavailable=error.code() is grpc.StatusCode.UNAVAILABLE,
        hint=hint,
        secret=secret,
        is_lost_content=_LOST.search(message) is not None,
        is_torn_cache=_TORN.search(message) is not None,
        line=line,
    )


def _line(source: dict[str, Any]) -> str:
    """Where a frontend says that the text is which it made a vertex of (solver/errdefs `Source`)."""
    name = source.get("info", {}).get("filename")
    number = next((item.get("start", {}).get("line") for item in source.get("ranges") or ()), None)
    return f"{name}:{number}" if name and number else ""


def _explain(message: str) -> tuple[str, str, str | None]:
    """A sentence for the user, a hint, and the secret that is missing, if that is what it is."""
    if match := _SECRET.search(message):
        secret = match[1]
        return f"The secret `{secret}` is required by this step, and there is none", _SECRET_HINT, secret
    _, found, sentence = message.partition(_SENDER)
    if found:
        return sentence, _FILES_HINT, None
    return message, "", None
