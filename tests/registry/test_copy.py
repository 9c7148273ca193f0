"""Copies of images and blobs between repositories of a real registry, and of registries that mount nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import httpx
import pytest

from flytebuild.errors import RegistryUnavailableError
from flytebuild.registry.client import MANIFEST_TYPES, Refused, RegistryClient
from flytebuild.registry.content import (
    Blob,
    Manifest,
    fetch_manifest,
    has_blob,
    missing_blobs,
    open_blob,
    put_manifest,
    start_upload,
    upload_blob,
)
from flytebuild.registry.copy import copy_image, mount
from flytebuild.registry.publish import IncompleteError, publish_image
from flytebuild.registry.reference import Reference, parse
from tests.conftest import Machine
from tests.registry_proxy import RegistryProxy, proxied

pytestmark = pytest.mark.engine

T = TypeVar("T")
LABELS = {"which": "this"}


@pytest.fixture
def proxy(machine: Machine) -> Iterator[RegistryProxy]:
    assert machine.registry
    with proxied(machine.registry.partition("/")[0]) as made:
        yield made


@pytest.fixture
def source(proxy: RegistryProxy) -> Reference:
    return parse(f"{proxy.host}/t{secrets.token_hex(6)}/source:1")


def play(act: Callable[[RegistryClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with RegistryClient() as client:
            return await act(client)

    return asyncio.run(run())


def blob_of(content: bytes) -> Blob:
    return Blob("sha256:" + hashlib.sha256(content).hexdigest(), len(content))


async def push(client: RegistryClient, target: Reference, layer: bytes = b"", **labels: str) -> Manifest:
    """Push an image of one layer; nothing looks into that."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Labels": labels or LABELS}}).encode()
    contents = {blob_of(content): content for content in (config, layer or secrets.token_bytes(300_000))}
    for blob, content in contents.items():
        await upload_blob(client, target, await start_upload(client, target), blob, content)
    described = [{"mediaType": "application/x", "digest": blob.digest, "size": blob.size} for blob in contents]
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "config": described[0], "layers": described[1:]}
    manifest = Manifest.of(document)
    await put_manifest(client, target, manifest)
    return manifest


def test_an_image_is_mounted_within_a_registry(proxy: RegistryProxy, source: Reference) -> None:
    target = parse(f"{proxy.host}/{source.repository}-target:2")

    async def act(client: RegistryClient) -> None:
        manifest = await push(client, source)
        proxy.calls.clear()
        assert await copy_image(client, source, target) == manifest.digest
        assert proxy.uploads() + proxy.downloads() == []
        assert (await fetch_manifest(client, target.pinned(manifest.digest))).content == manifest.content
        assert await missing_blobs(client, target, manifest) == ()

    play(act)


def test_what_is_not_mounted_is_streamed(proxy: RegistryProxy, source: Reference) -> None:
    """A registry that opens an upload where it is asked to mount, as the protocol allows."""
    target = parse(f"{proxy.host}/{source.repository}-target:2")

    async def act(client: RegistryClient) -> None:
        manifest = await push(client, source)
        proxy.rewrite = lambda method, query: "" if method == "POST" and "mount=" in query else query
        proxy.calls.clear()
        assert await copy_image(client, source, target) == manifest.digest
        assert sum(call.sent for call in proxy.uploads()) == sum(blob.size for blob in manifest.blobs)
        assert await missing_blobs(client, target, manifest) == ()

    play(act)


def test_between_registries_only_what_is_missing_moves(proxy: RegistryProxy, source: Reference) -> None:
    # The same registry, by an address that makes it another one.
    target = parse(f"{proxy.upstream}/{source.repository}-target:2")

    async def act(client: RegistryClient) -> None:
        layer = secrets.token_bytes(300_000)
        manifest = await push(client, source, layer)
        await upload_blob(client, target, await start_upload(client, target), blob_of(layer), layer)
        proxy.calls.clear()
        assert await copy_image(client, source, target) == manifest.digest
        assert [call.received for call in proxy.downloads()] == [manifest.blobs[0].size]
        assert await missing_blobs(client, target, manifest) == ()

    play(act)


def test_a_copy_of_an_image_that_lacks_a_layer_is_none(proxy: RegistryProxy, source: Reference) -> None:
    target = parse(f"{proxy.host}/{source.repository}-target:2")

    async def act(client: RegistryClient) -> None:
        manifest = await push(client, source)
        await client.request("DELETE", source, f"blobs/{manifest.layers[0].digest}", action="push")
        with pytest.raises(RegistryUnavailableError, match=r"cannot be copied .* its registry lacks `sha256:"):
            await copy_image(client, source, target)
        with pytest.raises(Refused, match="does not exist"):
            await fetch_manifest(client, target.pinned(manifest.digest))

    play(act)


def test_a_registry_that_mounts_nothing_is_asked_once(proxy: RegistryProxy, source: Reference) -> None:
    target = parse(f"{proxy.host}/{source.repository}-target:2")

    async def act(client: RegistryClient) -> None:
        manifest = await push(client, source)
        assert not await mount(client, source, parse("elsewhere.example/x:1"), manifest.layers)
        assert await mount(client, source, source, manifest.layers)
        proxy.rewrite = lambda method, query: "" if method == "POST" and "mount=" in query else query
        proxy.calls.clear()
        assert not await mount(client, source, target, manifest.blobs)
        assert [call.method for call in proxy.calls] == ["POST", "DELETE"]

    play(act)


def test_a_tag_is_put_last_and_kept_when_it_is_there(source: Reference) -> None:
    async def act(client: RegistryClient) -> None:
        first = await push(client, source.tagged("first"))
        second = await push(client, source.tagged("second"))
        assert await publish_image(client, source, first.digest, LABELS) == first.digest
        assert await publish_image(client, source, second.digest, LABELS) == first.digest
        # What is something else under our tag, or is not whole, is in nobody's way.
        other = await push(client, source.tagged("other"), which="that")
        assert await publish_image(client, source, other.digest, {"which": "that"}) == other.digest
        await client.request("DELETE", source, f"blobs/{other.layers[0].digest}", action="push")
        third = await push(client, source.tagged("third"), which="that")
        assert await publish_image(client, source, third.digest, {"which": "that"}) == third.digest

    play(act)


def test_an_image_that_is_not_whole_gets_no_tag(source: Reference) -> None:
    async def act(client: RegistryClient) -> None:
        manifest = await push(client, source.tagged("x"))
        lost = manifest.layers[0].digest
        await client.request("DELETE", source, f"blobs/{lost}", action="push")
        assert not await has_blob(client, source, lost)
        with pytest.raises(IncompleteError) as caught:
            await publish_image(client, source, manifest.digest, LABELS)
        assert caught.value.missing == (lost,)
        with pytest.raises(Refused):
            await fetch_manifest(client, source)

    play(act)


def test_content_that_is_not_what_was_asked_for_is_refused() -> None:
    async def other() -> AsyncIterator[bytes]:
        yield b"other"

    async def read(client: RegistryClient) -> None:
        async with open_blob(client, parse("registry.example/x:1"), blob_of(b"this").digest) as content:
            async for _ in content:
                pass

    async def act() -> None:
        async with RegistryClient(httpx.MockTransport(lambda _: httpx.Response(200, content=other()))) as client:
            with pytest.raises(Refused, match="answered with other content"):
                await read(client)

    asyncio.run(act())
