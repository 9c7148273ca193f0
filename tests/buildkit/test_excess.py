"""Requests that are larger than a daemon takes."""

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.excess import LARGEST, find_excess, name_of
from flytebuild.llb.file import make_file
from flytebuild.llb.marshal import marshal
from flytebuild.llb.state import State
from tests.samples import AMD64


def asking_for(state: State, **attrs: str) -> control_pb2.SolveRequest:
    request = control_pb2.SolveRequest(definition=marshal(state))
    request.exporters.add(type="image", attrs=attrs)
    return request


def test_what_fits_is_no_excess() -> None:
    state = make_file(None, "/a", b"", AMD64, name="a")
    overhead = asking_for(state).ByteSize()
    assert find_excess(asking_for(state)) is None
    assert find_excess(asking_for(make_file(None, "/a", bytes(LARGEST - overhead - 100), AMD64, name="a"))) is None


def test_the_largest_step_is_named_with_its_vertex() -> None:
    small = make_file(None, "/small", bytes(1 << 20), AMD64, name="small")
    large = make_file(small, "/large", bytes(4 << 20), AMD64, name="write /large\nand more " + "x" * 100)
    request = asking_for(make_file(large, "/last", b"", AMD64, name="last"))
    excess = find_excess(request)
    assert excess
    assert excess.vertex == large.vertex.digest
    assert excess.message == (
        "The request to build this has 5.0 MiB, and BuildKit takes no more than 4.0 MiB; "
        "the largest part of it is the step `write /large` with 4.0 MiB"
    )
    assert excess.hint
    assert name_of(request, excess.vertex).startswith("write /large\n")


def test_labels_may_be_what_is_too_large() -> None:
    excess = find_excess(
        asking_for(make_file(None, "/a", b"", AMD64, name="a"), **{"containerimage.config": "x" * LARGEST})
    )
    assert excess
    assert excess.vertex is None
    assert "the image's own settings and labels with 4.0 MiB" in excess.message
