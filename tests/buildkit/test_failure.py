"""What BuildKit says of a failed solve, and what a user is told."""

import json

import grpc
import pytest

from flytebuild.buildkit import failure
from flytebuild.buildkit._pb import session_pb2


class Failed(grpc.RpcError):  # type: ignore[misc]
    """An error as grpcio raises it."""

    def __init__(self, text: str, *details: tuple[str, object]) -> None:
        packed = [session_pb2.Detail(type_url=url, value=json.dumps(value).encode()) for url, value in details]
        self._trailer = session_pb2.Status(details=packed).SerializeToString()
        self._text = text

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return (("grpc-status-details-bin", self._trailer),)


VERTEX = ("github.com/moby/buildkit/errdefs.Vertex+json", {"digest": "sha256:x"})


def test_a_step_that_failed() -> None:
    text = 'process "x" did not complete successfully: exit code: 42'
    found = failure.read(Failed(text, VERTEX, ("x/gatewayapi.ExitMessage+json", {"Code": 42})))
    assert found == failure.Failure(text, "sha256:x", 42)


@pytest.mark.parametrize(
    ("ranges", "line"), [([{"start": {"line": 3}, "end": {"line": 4}}], "Dockerfile:3"), ([], ""), (None, "")]
)
def test_the_line_of_a_dockerfile(ranges: object, line: str) -> None:
    source = {"info": {"filename": "Dockerfile", "data": "RlJPTSB4"}, "ranges": ranges}
    assert failure.read(Failed("x", VERTEX, ("github.com/moby/buildkit/errdefs.Source+json", source))).line == line


@pytest.mark.parametrize("before", ["", "failed to solve: "])
def test_a_secret_that_is_missing(before: str) -> None:
    found = failure.read(Failed(f"{before}secret group/key: 1: not found", VERTEX))
    assert found.message == "The secret `group/key: 1` is required by this step, and there is none"
    assert (found.secret, found.vertex) == ("group/key: 1", "sha256:x")
    assert found.hint


@pytest.mark.parametrize("before", ["", "failed to solve: "])
def test_a_file_that_changed(before: str) -> None:
    found = failure.read(Failed(f"{before}error from sender: `a: b` changed while the image was built", VERTEX))
    assert found.message == "`a: b` changed while the image was built"
    assert found.hint


def test_other_things_that_are_not_found_are_no_secrets() -> None:
    text = 'failed to compute cache key: failed to calculate checksum: "/nope": not found'
    assert failure.read(Failed(text)) == failure.Failure(text)


def test_a_result_that_was_kept_by_half() -> None:
    said = "failed to commit j5d953 to 9zb44t during finalize: failed to stat active key during commit: "
    assert failure.read(Failed(said + "snapshot j5d953 does not exist: not found")).is_torn_cache
    assert not failure.read(Failed("failed to commit j5d953 to 9zb44t during finalize: context canceled")).is_torn_cache
