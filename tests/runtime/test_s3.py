"""The object store over HTTP: by hand where a detail matters, and by obstore, which is what the SDK uses."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from flytebuild.runtime.reach import Everything
from flytebuild.runtime.s3 import S3, Key
from flytebuild.runtime.s3_documents import paginate
from flytebuild.runtime.storage import Entry, ObjectStore
from tests.runtime.conftest import ScriptedExecutor, served
from tests.runtime.signer import Signer

OWNER = Signer("FBtest", "secret")


def key(key_id: str) -> Key | None:
    return Key("secret", Everything) if key_id == "FBtest" else None


def call(
    folder: Path, *requests: tuple[str, str, dict[str, str], bytes], signer: httpx.Auth | None = OWNER
) -> list[httpx.Response]:
    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(S3(ObjectStore(folder), key))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", auth=signer) as client:
            return [
                await client.request(method, f"/s3/{path}", headers=headers, content=content)
                for method, path, headers, content in requests
            ]

    return asyncio.run(main())


def test_put_get_head_delete(tmp_path: Path) -> None:
    put, get, head, delete, again, gone = call(
        tmp_path,
        ("PUT", "flytebuild/a%20b/c", {}, b"content"),
        ("GET", "flytebuild/a%20b/c", {}, b""),
        ("HEAD", "flytebuild/a%20b/c", {}, b""),
        ("DELETE", "flytebuild/a%20b/c", {}, b""),
        ("DELETE", "flytebuild/a%20b/c", {}, b""),
        ("GET", "flytebuild/a%20b/c", {}, b""),
    )
    assert (put.status_code, get.content, head.headers["content-length"], head.content) == (200, b"content", "7", b"")
    assert put.headers["etag"] == get.headers["etag"] == head.headers["etag"]
    assert (delete.status_code, again.status_code, gone.status_code) == (204, 204, 404)
    assert "NoSuchKey" in gone.text


@pytest.mark.parametrize(
    ("header", "status", "content", "said"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=10-", 416, None, None),
    ],
)
def test_ranges(tmp_path: Path, header: str, status: int, content: bytes | None, said: str | None) -> None:
    _, answer = call(
        tmp_path, ("PUT", "flytebuild/x", {}, b"0123456789"), ("GET", "flytebuild/x", {"range": header}, b"")
    )
    assert answer.status_code == status
    assert content is None or answer.content == content
    assert answer.headers.get("content-range") == said


@pytest.mark.parametrize(
    ("signer", "code"),
    [
        (None, "AccessDenied"),
        (httpx.BasicAuth("FBtest", "secret"), "AccessDenied"),
        (Signer("other", "secret"), "InvalidAccessKeyId"),
        (Signer("FBtest", "guess"), "SignatureDoesNotMatch"),
    ],
)
def test_without_the_right_signature_nothing_is_done(tmp_path: Path, signer: httpx.Auth | None, code: str) -> None:
    (answer,) = call(tmp_path, ("PUT", "flytebuild/x", {}, b"x"), signer=signer)
    assert (answer.status_code, code in answer.text) == (403, True)
    assert not (tmp_path / "flytebuild").exists()


@pytest.mark.parametrize(
    "path",
    [
        *("flytebuild/%2e%2e/%2e%2e/x", "flytebuild/a/%2e%2e/%2e%2e/%2e%2e/x", "%2e%2e/x", "flytebuild/..%2f..%2fx"),
        *("flytebuild//x", ".work/x", "flytebuild/a%00b"),
    ],
)
def test_paths_stay_in_the_folder(tmp_path: Path, path: str) -> None:
    inside = tmp_path / "inside"
    for method in ("PUT", "GET", "DELETE"):
        (answer,) = call(inside, (method, path, {}, b"x"))
        assert answer.status_code in (400, 404, 405)
    (copy,) = call(inside, ("PUT", "flytebuild/x", {"x-amz-copy-source": f"/{path}"}, b""))
    assert copy.status_code == 400
    assert [item for item in tmp_path.rglob("*") if item.is_file()] == []


def test_an_upload_in_parts_is_of_one_object(tmp_path: Path) -> None:
    (begun,) = call(tmp_path, ("POST", "flytebuild/mine?uploads=", {}, b""))
    upload = begun.text.partition("<UploadId>")[2].partition("<")[0]
    for method, place in (("PUT", "other?partNumber=1&uploadId="), ("DELETE", "other?uploadId=")):
        (answer,) = call(tmp_path, (method, f"flytebuild/{place}{upload}", {}, b"x"))
        assert (answer.status_code, "NoSuchUpload" in answer.text) == (404, True)


def test_a_new_object_only(tmp_path: Path) -> None:
    headers = {"if-none-match": "*"}
    first, second = call(tmp_path, ("PUT", "flytebuild/x", headers, b"1"), ("PUT", "flytebuild/x", headers, b"2"))
    assert (first.status_code, second.status_code) == (200, 412)
    assert (tmp_path / "flytebuild/x").read_bytes() == b"1"


def test_documents_with_entities_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>'
    documents = (
        bomb.encode(),
        bomb.encode("utf-16"),
        b'<?xml version="1.0" encoding="cp037"?>' + bomb.encode("cp037"),
        b"<Delete>",
    )
    answers = call(tmp_path, *(("POST", "flytebuild?delete", {}, document) for document in documents))
    assert {(answer.status_code, "MalformedXML" in answer.text) for answer in answers} == {(400, True)}


def test_pages_of_a_listing() -> None:
    entries = [Entry(key, 1, 0.0, "t") for key in ("p/a", "p/b/1", "p/b/2", "p/c")]
    first = paginate(entries, "p/", "/", "", 2)
    assert ([entry.key for entry in first.entries], first.prefixes, first.next_key) == (["p/a"], ["p/b/"], "p/b/")
    second = paginate(entries, "p/", "/", "p/b/", 2)
    assert ([entry.key for entry in second.entries], second.prefixes, second.next_key) == (["p/c"], [], None)


@pytest.fixture
def store(server: str) -> S3Store:
    return store_of(server)


def store_of(server: str) -> S3Store:
    return S3Store(
        "flytebuild",
        config={
            "endpoint": f"{server}/s3",
            "access_key_id": "FBtest",
            "secret_access_key": "secret",
            "region": "us-east-1",
        },
        client_options={"allow_http": True},
    )


def test_obstore_writes_reads_lists_and_removes(store: S3Store) -> None:
    for name in ("dir/a b", "dir/sub/ü+&", "other"):
        obstore.put(store, name, name.encode())
    assert bytes(obstore.get(store, "dir/sub/ü+&").bytes()) == "dir/sub/ü+&".encode()
    assert bytes(obstore.get_range(store, "other", start=1, end=3)) == b"th"
    assert obstore.head(store, "other")["size"] == 5
    assert sorted(item["path"] for batch in obstore.list(store, "dir") for item in batch) == ["dir/a b", "dir/sub/ü+&"]
    found = obstore.list_with_delimiter(store, "dir")
    assert found["common_prefixes"] == ["dir/sub"]
    obstore.copy(store, "other", "dir/copy")
    assert bytes(obstore.get(store, "dir/copy").bytes()) == b"other"
    obstore.delete(store, ["dir/a b", "dir/copy", "nothing"])
    obstore.delete(store, "other")
    assert [item["path"] for batch in obstore.list(store) for item in batch] == ["dir/sub/ü+&"]
    with pytest.raises(FileNotFoundError):
        obstore.get(store, "other")


def test_obstore_writes_in_parts(store: S3Store, tmp_path: Path) -> None:
    piece = bytes(range(256)) * (5 << 12)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield piece

    async def main() -> None:
        await obstore.put_async(store, "big", pieces(), use_multipart=True, chunk_size=5 << 20)

    asyncio.run(main())
    assert (tmp_path / "objects/flytebuild/big").read_bytes() == piece * 4
    assert list((tmp_path / "objects/.work").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk: `sudo make test`")
def test_a_disk_that_is_full_is_told_at_once_and_leaves_nothing_behind(small_disk: Path) -> None:
    with served(small_disk, ScriptedExecutor()) as server:
        store = store_of(server)
        obstore.put(store, "before", b"x" * (1 << 20))
        for is_in_parts in (False, True):
            with pytest.raises(BaseError, match="disk that objects are kept on is full"):
                obstore.put(store, "large", bytes(12 << 20), use_multipart=is_in_parts)
        # What was there stays, and what fits is taken, once the last part that was under way has gone as well.
        deadline = time.monotonic() + 30
        while True:
            try:
                obstore.put(store, "after", b"y" * (1 << 20))
                break
            except BaseError:
                assert time.monotonic() < deadline, "the disk stays full"
        assert len(obstore.get(store, "before").bytes()) == 1 << 20
        assert not (small_disk / "objects/flytebuild/large").exists()
