"""How an attempt ended, judged by what its container left behind: pure functions.

An error document counts before outputs and before the exit code: the entrypoint ends with 0 after a user's exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flytebuild.runtime.model import Failure

if TYPE_CHECKING:
    from flyteidl2.core.tasks_pb2 import TaskMetadata

_KILLED = 137
_ABORTED = 134
"""SIGABRT. Outputs are the last thing that a task writes: what comes after them is the end of its interpreter, which
the threads of the SDK's HTTP client may abort (`flytebuild.authoring.leaving` says how that comes)."""

_SYSTEM = 2
"""Number of `ExecutionError.ErrorKind.SYSTEM` in the protocol."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended: `problem` is set when the engine lost it, and then there is no code.

    `log_problem` says why its log is not complete; it has no part in the verdict.
    """

    code: int | None
    is_out_of_memory: bool = False
    problem: str = ""
    log_problem: str = ""


def judge(
    exit_: Exit, document: bytes | None, *, has_outputs: bool, needs_outputs: bool, last_words: str = ""
) -> Failure | None:
    """The failure of an attempt, or None when it succeeded.

    `document` is its `error.pb`, `last_words` the end of its log, for the case that nothing else says why.
    """
    if document is not None:
        return read_document(document)
    if exit_.is_out_of_memory:
        return Failure(
            "OOMKilled", "The container was killed: it used more memory than the task asks for", is_recoverable=True
        )
    if exit_.code is None:
        return Failure("ContainerLost", exit_.problem or "The engine lost the container", True, True)
    if exit_.code == _KILLED:
        return Failure("Killed", "The container was killed from outside (exit code 137)", True, True)
    if exit_.code and not (exit_.code == _ABORTED and has_outputs):
        return Failure(
            "NonZeroExit",
            f"The container ended with exit code {exit_.code}; {_told(exit_, last_words)}",
            is_recoverable=True,
        )
    if needs_outputs and not has_outputs:
        return Failure("OutputsMissing", "The task ended without an error and without outputs", True, True)
    return None


def _told(exit_: Exit, last_words: str) -> str:
    if not exit_.log_problem:
        return f"the end of its log:\n{last_words}"
    rest = f"; what there is ends with:\n{last_words}" if last_words else ""
    return f"its log is not complete ({exit_.log_problem}){rest}"


def read_document(document: bytes) -> Failure:
    """The failure that a task reports in its error document."""
    from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument
    from google.protobuf.message import DecodeError

    try:
        error = ErrorDocument.FromString(document).error
    except DecodeError:
        return Failure("ErrorDocumentUnreadable", "The task's error document cannot be read", True, False)
    return Failure(
        code=error.code,
        message=error.message,
        is_system=error.origin == _SYSTEM,
        is_recoverable=error.kind == ContainerError.RECOVERABLE,
    )


def retry_delay(metadata: TaskMetadata, failed: int) -> float | None:
    """Seconds to wait before the next attempt after `failed` of them, or None when there is none left."""
    strategy = metadata.retries
    if failed > strategy.retries:
        return None
    if not strategy.HasField("backoff"):
        return 0.0
    backoff = strategy.backoff
    factor = backoff.factor if backoff.HasField("factor") else 1.0
    delay = seconds(backoff.base) * float(factor) ** (failed - 1)
    return min(delay, seconds(backoff.cap)) if backoff.HasField("cap") else delay


def seconds(duration: object) -> float:
    """A protobuf duration in seconds."""
    return float(getattr(duration, "seconds", 0)) + float(getattr(duration, "nanos", 0)) / 1e9
