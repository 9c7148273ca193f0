"""What is uploaded, and for how long nothing was told of it."""

from google.protobuf.timestamp_pb2 import Timestamp

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.uploads import Uploads


def status(name: str, *, completed: bool = False, vertex: str = "export") -> control_pb2.StatusResponse:
    told = control_pb2.VertexStatus(id=name, vertex=vertex, started=Timestamp(seconds=1))
    if completed:
        told.completed.CopyFrom(Timestamp(seconds=2))
    return control_pb2.StatusResponse(statuses=[told])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_comes_before_a_push_is_no_upload() -> None:
    uploads = Uploads()
    for name in ("exporting layers", "exporting manifest sha256:1", "preparing build cache for export"):
        uploads.take(status(name))
    assert uploads.current is None


def test_an_image_is_uploaded_until_its_layers_and_its_manifest_are_there() -> None:
    uploads = Uploads()
    seen = []
    for name in ("pushing layers", "pushing manifest for registry.example/one"):
        for completed in (False, True):
            uploads.take(status(name, completed=completed))
            seen.append(uploads.current)
    assert not uploads.is_large
    assert seen == ["pushing layers", None, "pushing manifest for registry.example/one", None]


def test_a_cache_is_uploaded_layer_by_layer() -> None:
    uploads = Uploads()
    uploads.take(status("preparing build cache for export"))
    uploads.take(status("writing layer sha256:1"))
    assert (uploads.current, uploads.is_large) == ("writing layer sha256:1", True)
    uploads.take(status("writing layer sha256:1", completed=True))
    assert uploads.current is None


def test_whatever_is_told_ends_the_silence() -> None:
    clock = Clock()
    uploads = Uploads(clock)
    uploads.take(status("pushing layers"))
    clock.now += 40
    assert uploads.silence == 40
    uploads.take(control_pb2.StatusResponse(logs=[control_pb2.VertexLog(vertex="export", msg=b"retrying in 1s\n")]))
    assert (uploads.current, uploads.silence) == ("pushing layers", 0)
    clock.now += 7
    uploads.hear()
    assert uploads.silence == 0
