"""From BuildKit's status stream to our events.

The stream repeats vertices as they change: `cached` may be said once only, a vertex may start several times while its
layers are fetched, and logs come in chunks that do not end at line ends.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.log_lines import readable
from flytebuild.buildkit.uploads import Uploads
from flytebuild.events import Emit, Event, StepFinished, StepLog, StepProgress, StepStarted

LOG_TAIL = 30
"""Lines of a step's log that an error shows."""

_CANCELLED = "context canceled"
"""How the errors of steps end that did not fail but were stopped: Go's own word for it."""


_EXPORT = "exporting to "
"""How BuildKit's exporters call what they do."""


@dataclass
class _Step:
    name: str = ""
    cached: bool = False
    has_inputs: bool = False
    started: bool = False
    finished: bool = False
    error: str = ""
    seconds: float = 0.0
    running_since: float | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_TAIL))
    partial: dict[int, str] = field(default_factory=dict)


class Progress:
    """Follows the solve of one image: `update` takes the daemon's messages, `emit` gets what they mean.

    `uploads` is what it brings to a registry at the moment, `merging` the digests of the vertices that run nothing, but
    put layers on top of each other.
    """

    def __init__(self, image: str, emit: Emit) -> None:
        self._image = image
        self._emit = emit
        self.uploads = Uploads()
        self.merging: Set[str] = frozenset()
        self._steps: defaultdict[str, _Step] = defaultdict(_Step)

    def update(self, message: control_pb2.StatusResponse) -> None:
        """Take one message of the stream."""
        self.uploads.take(message)
        for event in (*self._vertices(message), *self._transfers(message), *self._logs(message)):
            self._emit(event)

    def close(self) -> None:
        """The stream has ended: report what steps wrote without a line end."""
        for digest, step in self._steps.items():
            rest = tuple(map(readable, filter(None, step.partial.values())))
            step.partial.clear()
            if rest:
                step.tail.extend(rest)
                self._emit(StepLog(self._image, digest, step.name, rest))

    def introduce(self, digest: str, name: str) -> None:
        """Say what a step is called that the daemon does not know of."""
        self._steps[digest].name = name

    @property
    def has_exported(self) -> bool:
        """Whether the image was made, and its export began."""
        return any(step.name.startswith(_EXPORT) for step in self._steps.values())

    def restart(self) -> None:
        """The image is solved once more: what was told of its steps is told again."""
        self._steps.clear()
        self.uploads = Uploads()

    def name(self, digest: str) -> str:
        """What a step is called, or its digest when the daemon never named it."""
        return self._steps[digest].name or digest

    def tail(self, digest: str) -> tuple[str, ...]:
        """The last lines that a step wrote."""
        return tuple(self._steps[digest].tail)

    def _vertices(self, message: control_pb2.StatusResponse) -> Iterable[Event]:
        for vertex in message.vertexes:
            step = self._steps[vertex.digest]
            step.name = vertex.name or step.name
            step.cached |= vertex.cached
            step.has_inputs |= bool(vertex.inputs)
            if vertex.HasField("started") and not vertex.HasField("completed") and not step.started:
                step.started = True
                yield StepStarted(self._image, vertex.digest, step.name)
            if vertex.HasField("completed") and not step.finished:
                step.finished = True
                if vertex.HasField("started"):
                    step.seconds = vertex.completed.ToNanoseconds() / 1e9 - vertex.started.ToNanoseconds() / 1e9
                cancelled = vertex.error.endswith(_CANCELLED)
                error = None if cancelled else vertex.error or None
                # Sources, files out of nothing, imports and exports have no inputs.
                runs = step.has_inputs and vertex.digest not in self.merging
                yield StepFinished(
                    self._image, vertex.digest, step.name, step.cached, step.seconds, error, cancelled, runs
                )

    def _transfers(self, message: control_pb2.StatusResponse) -> Iterable[Event]:
        for status in message.statuses:
            yield StepProgress(self._image, status.vertex, status.id, status.current, status.total)

    def _logs(self, message: control_pb2.StatusResponse) -> Iterable[Event]:
        for log in message.logs:
            step = self._steps[log.vertex]
            text = step.partial.get(log.stream, "") + log.msg.decode("utf-8", "replace")
            *lines, step.partial[log.stream] = text.replace("\r\n", "\n").split("\n")
            if lines:
                told = tuple(map(readable, lines))
                step.tail.extend(told)
                yield StepLog(self._image, log.vertex, step.name, told)
