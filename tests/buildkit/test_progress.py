"""The status stream, as BuildKit sends it, becomes events."""

from google.protobuf.timestamp_pb2 import Timestamp

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.progress import LOG_TAIL, Progress
from flytebuild.events import Event, StepFinished, StepLog, StepProgress, StepStarted


def vertex(**fields: object) -> control_pb2.StatusResponse:
    times = {name: Timestamp(seconds=value) for name, value in fields.items() if name in ("started", "completed")}  # type: ignore[arg-type]
    rest = {"inputs": ["below"], **{name: value for name, value in fields.items() if name not in times}}
    return control_pb2.StatusResponse(vertexes=[control_pb2.Vertex(digest="d", name="step", **rest, **times)])  # type: ignore[arg-type]


def log(text: bytes, stream: int = 1) -> control_pb2.StatusResponse:
    return control_pb2.StatusResponse(logs=[control_pb2.VertexLog(vertex="d", stream=stream, msg=text)])


def follow(*messages: control_pb2.StatusResponse) -> list[Event]:
    events: list[Event] = []
    progress = Progress("image", events.append)
    for message in messages:
        progress.update(message)
    progress.close()
    return events


def test_a_step_that_runs_starts_and_ends_once_however_often_it_is_told() -> None:
    events = follow(
        vertex(), vertex(started=5), vertex(started=5), vertex(started=5, completed=8), vertex(started=5, completed=8)
    )
    assert events == [
        StepStarted("image", "d", "step"),
        StepFinished("image", "d", "step", cached=False, seconds=3.0),
    ]


def test_cached_may_be_told_before_the_end_and_never_again() -> None:
    events = follow(vertex(cached=True), vertex(started=5, completed=6))
    assert [(event.cached, event.step) for event in events if isinstance(event, StepFinished)] == [(True, "d")]


def test_a_failure_carries_its_error() -> None:
    (event,) = follow(vertex(started=1, completed=2, error="exit code: 1"))
    assert isinstance(event, StepFinished)
    assert event.error == "exit code: 1"


def test_a_step_that_was_stopped_is_cancelled_and_has_not_failed() -> None:
    said = 'process "/bin/sh" did not complete successfully: exit code: 137: context canceled: context canceled'
    (event,) = follow(vertex(started=1, completed=2, error=said))
    assert event == StepFinished("image", "d", "step", cached=False, seconds=1.0, cancelled=True)


def test_what_has_no_inputs_or_merges_layers_runs_nothing() -> None:
    source, command = vertex(started=1, completed=2, inputs=[]), vertex(started=1, completed=2)
    events: list[Event] = []
    merging = Progress("image", events.append)
    merging.merging = {"d"}
    merging.update(command)
    told = (*follow(source), *follow(command), *events)
    assert [event.runs for event in told if isinstance(event, StepFinished)] == [False, True, False]


def test_log_chunks_become_whole_lines_per_stream() -> None:
    events = follow(vertex(), log(b"a\nb"), log(b"x", 2), log(b"c\r\nd"), log(b"y\n", 2))
    lines = [event.lines for event in events if isinstance(event, StepLog)]
    assert lines == [("a",), ("bc",), ("xy",), ("d",)]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    (event,) = follow(log(b"\xff\n"))
    assert isinstance(event, StepLog)
    assert event.lines == ("\N{REPLACEMENT CHARACTER}",)


def test_what_a_step_does_to_its_terminal_is_not_done_to_ours() -> None:
    title, link = b"\x1b]0;title\x07", b"\x1b]8;;https://a.example\x1b\\"
    (event,) = follow(log(b"\x1b[1;31mred\x1b[0m\x1b[2J\x1b(B\tx" + title + link + b"a\x1b]8;;\x1b\\\x00 b\x1b[\n"))
    assert isinstance(event, StepLog)
    assert event.lines == ("red\txa b",)


def test_of_a_line_that_is_written_over_the_last_state_is_told() -> None:
    (first, last) = follow(vertex(), log(b"10%\r20%\rdone\r\n30%\r"), log(b"40%\r"))
    assert isinstance(first, StepLog)
    assert isinstance(last, StepLog)
    assert (first.lines, last.lines) == (("done",), ("40%",))


def test_the_tail_is_bounded() -> None:
    progress = Progress("image", lambda _event: None)
    progress.update(log(b"\n".join(b"%d" % number for number in range(100)) + b"\n"))
    assert progress.tail("d") == tuple(str(number) for number in range(100 - LOG_TAIL, 100))


def test_bytes_moved() -> None:
    message = control_pb2.StatusResponse(
        statuses=[control_pb2.VertexStatus(id="sha256:x", vertex="d", current=5, total=9)]
    )
    assert follow(message) == [StepProgress("image", "d", "sha256:x", 5, 9)]


def test_a_vertex_that_was_never_named_goes_by_its_digest() -> None:
    assert Progress("image", lambda _event: None).name("sha256:x") == "sha256:x"


def test_whether_the_export_has_begun() -> None:
    progress = Progress("image", lambda _event: None)
    progress.update(vertex(started=1))
    assert not progress.has_exported
    progress.update(control_pb2.StatusResponse(vertexes=[control_pb2.Vertex(digest="e", name="exporting to image")]))
    assert progress.has_exported
