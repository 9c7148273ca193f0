"""A store of the user's own: where its credentials come from, and objects in it, served by a second control plane."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flyteidl2.core.types_pb2 import BlobType
from flyteidl2.task.common_pb2 import Inputs

from flytebuild import config
from flytebuild.config import Config
from flytebuild.errors import ConfigError, UsageError
from flytebuild.runtime import own_storage
from flytebuild.runtime.archives import pieces
from flytebuild.runtime.container import order
from flytebuild.runtime.own_storage import CredentialsMissingError, Key, OwnStorage, find_key
from flytebuild.runtime.raw_container import RawContainers
from flytebuild.runtime.remote_store import RemoteStore
from flytebuild.runtime.storage import ObjectNameError
from tests.runtime import samples
from tests.runtime.conftest import CREDENTIALS, SITE, ScriptedExecutor, served

BASE = "s3://bucket/a/b"
FILE = """\
[default]
aws_access_key_id = ID
aws_secret_access_key = sec%ret
[work]
aws_access_key_id = WORK
aws_secret_access_key = other
aws_session_token = token
[half]
aws_access_key_id = HALF
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path / "other", ScriptedExecutor()) as server:
        yield f"{server}/s3"


def store(address: str, secret: str = CREDENTIALS.key_secret) -> RemoteStore:
    return RemoteStore(OwnStorage(BASE, address), lambda: Key(CREDENTIALS.key_id, secret))


async def broken_off(there: RemoteStore) -> None:
    async with there.writing(f"{there.base}/half") as writer:
        await writer.write(b"half")
        raise RuntimeError("broken off")


def test_objects(address: str, tmp_path: Path) -> None:
    there = store(address)
    large = bytes(range(256)) * (12 << 12)

    async def main() -> None:
        uri = f"{there.base}/x y/ü"
        assert (await there.read(uri), await there.size(uri)) == (None, None)
        await there.write(uri, b"content")
        assert (await there.read(uri), await there.size(uri)) == (b"content", 7)
        async with there.writing(uri) as writer:
            for start in range(0, len(large), 1 << 16):
                await writer.write(large[start : start + (1 << 16)])
        assert b"".join([piece async for piece in there.reading(uri)]) == large
        with pytest.raises(RuntimeError):
            await broken_off(there)
        assert await there.size(f"{there.base}/half") is None
        with pytest.raises(FileNotFoundError):
            assert [piece async for piece in there.reading(f"{there.base}/half")]
        with pytest.raises(ObjectNameError):
            await there.read("s3://bucket/../x")

    asyncio.run(main())
    assert (tmp_path / "other/objects/bucket/a/b/x y/ü").read_bytes() == large


def test_a_store_that_refuses_is_told_in_one_line(address: str) -> None:
    async def main() -> None:
        await store(address, "guess").read(f"{BASE}/x")

    with pytest.raises(OSError, match="does not give or take") as refused:
        asyncio.run(main())
    assert "\n" not in str(refused.value)
    assert "guess" not in str(refused.value)


def test_credentials(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(FILE)
    place = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    assert find_key(place) == Key("ID", "sec%ret", None)
    assert find_key({**place, "AWS_PROFILE": "work"}) == Key("WORK", "other", "token")
    variables = {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    assert find_key({**place, **variables}) == Key("E", "s", "t")
    assert "sec%ret" not in repr(find_key(place))
    for missing in ({**place, "AWS_PROFILE": "half"}, {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}):
        with pytest.raises(CredentialsMissingError, match="AWS_ACCESS_KEY_ID"):
            find_key(missing)


def test_what_the_sdk_is_told() -> None:
    storage = OwnStorage(BASE, "http://127.0.0.1:9000/s3", "eu-central-1")
    assert storage.variables(Key("id", "secret", "token")) == {
        "FLYTE_AWS_ENDPOINT": "http://127.0.0.1:9000/s3",
        "FLYTE_AWS_ACCESS_KEY_ID": "id",
        "FLYTE_AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_REGION": "eu-central-1",
    }
    # A container calls this machine by another name; what lies elsewhere has one for both.
    assert storage.reached_by("host.docker.internal").endpoint == "http://host.docker.internal:9000/s3"
    for other in (OwnStorage(BASE), OwnStorage(BASE, "https://minio.example:9000")):
        assert other.reached_by("host.docker.internal") == other


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("storage", value) for value in ("bucket", "s3://", "s3://B/x", "s3://bucket//x", "s3://key:secret@bucket")),
        *(("storage_endpoint", value) for value in ("minio:9000", "ftp://x", "http://key:secret@minio")),
        ("storage_region", "eu central"),
    ],
)
def test_what_cannot_be(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(tmp_path, {f"FLYTEBUILD_{key.upper()}": value})
    assert "secret" not in str(refused.value)


def test_what_is_configured(tmp_path: Path) -> None:
    environ = {"FLYTEBUILD_STORAGE": f"{BASE}/", "FLYTEBUILD_STORAGE_ENDPOINT": "http://127.0.0.1:9000"}
    assert own_storage.configured(config.load(tmp_path, environ)) == OwnStorage(BASE, "http://127.0.0.1:9000")
    assert own_storage.configured(Config()) is None


def test_a_raw_container_is_fed_from_there(address: str) -> None:
    there = store(address)
    spec = samples.raw_spec()
    action = samples.action(spec=spec)
    inputs = Inputs()
    for name, kind in (("file", BlobType.SINGLE), ("folder", BlobType.MULTIPART)):
        value = inputs.literals.add(name=name).value.scalar.blob
        value.uri = f"{BASE}/{name}"
        value.metadata.type.dimensionality = kind
    large = bytes(range(256)) * (12 << 10)

    async def main() -> bytes:
        await there.write(action.input_uri, inputs.SerializeToString())
        await there.write(f"{BASE}/file", large)
        await there.write(f"{BASE}/folder/deep/part", b"part")
        await there.write(f"{BASE}/folder-not", b"a neighbour")
        plain = order(samples.run(), action, samples.attempt(), SITE)
        filled = await RawContainers(there).fill(plain, action)
        # As the engine's client reads it: in a thread, while the loop goes on.
        return await asyncio.to_thread(lambda: b"".join(pieces(filled.files)))

    with tarfile.open(fileobj=io.BytesIO(asyncio.run(main()))) as archive:
        found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        content = {name: file.read() for name, file in found.items() if file and not name.startswith("in/inputs.")}
    assert content == {"in/file": large, "in/folder/deep/part": b"part"}


def test_one_of_this_machine_is_refused_to_an_engine_of_another() -> None:
    OwnStorage("s3://data", "https://s3.example").check_reach("ssh://far")
    OwnStorage("s3://data").check_reach("ssh://far")
    with pytest.raises(UsageError, match="`http://localhost:9000` is this machine's alone"):
        OwnStorage("s3://data", "http://localhost:9000").check_reach("ssh://far")
