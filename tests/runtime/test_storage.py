from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flytebuild.runtime.storage import ObjectNameError, ObjectStore


def test_objects_are_files_below_the_folder(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    asyncio.run(store.write("s3://flytebuild/a/b.txt", b"content"))
    assert (tmp_path / "flytebuild/a/b.txt").read_bytes() == b"content"
    assert asyncio.run(store.read("s3://flytebuild/a/b.txt")) == b"content"
    assert asyncio.run(store.read("s3://flytebuild/a")) is None
    assert asyncio.run(store.read("s3://flytebuild/a/b.txt/c")) is None
    assert asyncio.run(store.size("s3://flytebuild/a/b.txt")) is not None
    assert asyncio.run(store.size("s3://flytebuild/a")) is None


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://flytebuild/../x", "s3://flytebuild/a/../../../etc/passwd", "s3://flytebuild//etc/passwd"),
        *("s3://../x", "s3://.work/x", "s3:///x", "s3://flytebuild/", "s3://flytebuild/a/./b", "s3://flytebuild/a\0b"),
        *("file:///etc/passwd", "/etc/passwd", f"s3://flytebuild/{'x' * 256}"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ObjectNameError):
        ObjectStore(tmp_path).path_of(uri)


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    target = store.path_of("s3://flytebuild/a")

    async def main() -> None:
        async with store.writer(target) as writer:
            await writer.write(b"half")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        asyncio.run(main())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    target = store.path_of("s3://flytebuild/a")
    upload, left = store.begin_parts(target), store.begin_parts(target)
    (tmp_path / ".work/half").write_bytes(b"half")
    # As one that is completed between the listing and the look.
    (tmp_path / ".work/parts-gone").symlink_to("nowhere")
    assert (store.sweep(), store.target(upload)) == (0, target)
    (tmp_path / ".work/parts-gone").unlink()
    os.utime(tmp_path / f".work/parts-{left}", (0, 0))
    # A container that survives a restart goes on with its upload.
    again = ObjectStore(tmp_path)
    assert again.target(upload) == target
    assert [path.name for path in (tmp_path / ".work").iterdir()] == [f"parts-{upload}"]


def test_parts_come_in_any_order_and_size(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    target = store.path_of("s3://flytebuild/a")

    async def put(upload: str, number: int, content: bytes, size: int | None) -> None:
        async with store.part_writer(upload, number, size) as writer:
            await writer.write(content)

    async def main(*parts: tuple[int, bytes, bool]) -> bytes:
        upload = store.begin_parts(target)
        for number, content, is_known in parts:
            await put(upload, number, content, len(content) if is_known else None)
        await store.join_parts(upload, sorted({number for number, _, _ in parts}), target)
        return target.read_bytes()

    for parts in (
        ((2, b"two", True), (1, b"one", True), (3, b"3", True)),
        ((3, b"3", True), (1, b"one", True), (2, b"two", True)),
        ((1, b"one", False), (2, b"two", True), (3, b"3", False)),
        # The same part once more, as after a connection that broke off; and a number left out.
        ((1, b"xxx", True), (1, b"one", True), (2, b"two", True), (5, b"3", True)),
    ):
        assert asyncio.run(main(*parts)) == b"onetwo3"
    assert list((tmp_path / ".work").iterdir()) == []


def test_a_part_that_breaks_off_does_not_count(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    target = store.path_of("s3://flytebuild/a")
    upload = store.begin_parts(target)

    async def main() -> None:
        async with store.part_writer(upload, 1, 8) as writer:
            await writer.write(b"half")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        asyncio.run(main())
    with pytest.raises(FileNotFoundError):
        asyncio.run(store.join_parts(upload, [1], target))
    assert not target.exists()


def test_an_object_is_no_folder(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    asyncio.run(store.write("s3://flytebuild/a/b", b""))
    for uri in ("s3://flytebuild/a", "s3://flytebuild/a/b/c"):
        with pytest.raises(ObjectNameError, match="an object and a folder"):
            asyncio.run(store.write(uri, b""))


def test_removal_takes_empty_folders_along(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    for key in ("a/b/c", "a/d"):
        asyncio.run(store.write(f"s3://flytebuild/{key}", b""))
    store.remove(store.path("flytebuild", "a/b/c"))
    assert not (tmp_path / "flytebuild/a/b").exists()
    store.remove(store.path("flytebuild", "a/d"))
    store.remove(store.path("flytebuild", "a/d"))
    assert not (tmp_path / "flytebuild").exists()
    assert tmp_path.exists()


def test_writers_and_removers_side_by_side(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)

    async def turn(number: int) -> None:
        uri = f"s3://flytebuild/shared/folder/{number}"
        await store.write(uri, b"x")
        await asyncio.to_thread(store.remove, store.path_of(uri))

    async def main() -> None:
        await asyncio.gather(*(turn(number) for number in range(200)))

    asyncio.run(main())
    assert not (tmp_path / "flytebuild").exists()
