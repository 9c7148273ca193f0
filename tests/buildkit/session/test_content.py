"""Blobs that a session lends: written whole or not at all, and read in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from flytebuild.buildkit._pb import content_pb2 as pb
from flytebuild.buildkit.session.content import BlobFolder
from flytebuild.buildkit.session.providers import RefusedCallError, StreamProvider

BODY = b"content" * 300_000
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Store:
    """The methods of a folder, as BuildKit calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._methods = {item.method.rpartition("/")[2]: item for item in BlobFolder(folder).providers()}

    def write(self, *requests: pb.WriteContentRequest) -> list[pb.WriteContentResponse]:
        method = self._methods["Write"]
        assert isinstance(method, StreamProvider)
        raw = iter([item.SerializeToString() for item in requests])
        return [pb.WriteContentResponse.FromString(item) for item in method.exchange(raw, {})]

    def read(self, digest: str, offset: int = 0, size: int = 0) -> bytes:
        method = self._methods["Read"]
        assert isinstance(method, StreamProvider)
        request = pb.ReadContentRequest(digest=digest, offset=offset, size=size).SerializeToString()
        answers = [pb.ReadContentResponse.FromString(item) for item in method.exchange(iter([request]), {})]
        return b"".join(item.data for item in answers)

    def size(self, digest: str) -> int:
        method = self._methods["Info"]
        assert not isinstance(method, StreamProvider)
        answer = method.answer(pb.InfoRequest(digest=digest).SerializeToString())
        return int(pb.InfoResponse.FromString(answer).info.size)


def pieces(expected: str, body: bytes = BODY) -> Iterable[pb.WriteContentRequest]:
    yield pb.WriteContentRequest(action=pb.STAT, ref="r", expected=expected)
    for offset in range(0, len(body), 1_000_000):
        yield pb.WriteContentRequest(action=pb.WRITE, offset=offset, data=body[offset : offset + 1_000_000])
    yield pb.WriteContentRequest(action=pb.COMMIT, expected=expected, offset=len(body), total=len(body))


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    answers = store.write(*pieces(DIGEST))
    assert [item.offset for item in answers] == [0, 1_000_000, 2_000_000, 2_100_000, 2_100_000]
    assert answers[-1].digest == DIGEST
    assert store.size(DIGEST) == len(BODY)
    assert store.read(DIGEST) == BODY
    assert store.read(DIGEST, 5, 9) == BODY[5:14]
    assert store.read(DIGEST, len(BODY)) == b""


def test_a_blob_of_another_digest_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = "sha256:" + "0" * 64
    with pytest.raises(RefusedCallError, match=f"is {DIGEST} and not {other}"):
        store.write(*pieces(other))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_one_that_is_broken_off_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(*list(pieces(DIGEST))[:-1])
    with pytest.raises(RefusedCallError, match="is not there"):
        store.size(DIGEST)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(*pieces(DIGEST))
    with pytest.raises(RefusedCallError, match="is there already") as refusal:
        store.write(*pieces(DIGEST))
    assert refusal.value.code == 6


@pytest.mark.parametrize("digest", ["", "sha256:../../etc/passwd", "sha512:" + "0" * 64, "sha256:" + "A" * 64])
def test_only_digests_are_names(tmp_path: Path, digest: str) -> None:
    with pytest.raises(RefusedCallError, match="SHA-256"):
        Store(tmp_path).read(digest)
