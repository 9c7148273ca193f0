"""Manifests and blobs: looking for them, fetching them, putting them into a repository.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md. What a registry does not do raises `Refused`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from msgspec import Struct

from flytebuild.registry.client import ACCEPT, INDEX_TYPES, MANIFEST_TYPES, Refused, RegistryClient
from flytebuild.registry.reference import Reference


class Blob(Struct, frozen=True):
    """A blob that a manifest names; `size` in bytes."""

    digest: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Blob:
        """What some content is as a blob."""
        return cls("sha256:" + hashlib.sha256(content).hexdigest(), len(content))


class Manifest(Struct, frozen=True):
    """A manifest or an index, byte for byte: its digest is taken of `content`."""

    content: bytes
    media_type: str

    @classmethod
    def of(cls, document: dict[str, Any]) -> Manifest:
        """The canonical bytes of a document that names its own type."""
        return cls(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), document["mediaType"])

    @property
    def digest(self) -> str:
        """What its registry calls it, `sha256:…`."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    @property
    def is_index(self) -> bool:
        """Whether it is a list of other manifests."""
        return self.media_type in INDEX_TYPES or "manifests" in self.document

    @property
    def document(self) -> dict[str, Any]:
        """Its fields. Raises Refused where it is not JSON."""
        try:
            found = json.loads(self.content)
        except ValueError as error:
            raise Refused("a manifest is not JSON") from error
        if not isinstance(found, dict):
            raise Refused("a manifest is not what a manifest is")
        return found

    @property
    def layers(self) -> tuple[Blob, ...]:
        """The layers, each once; nothing for an index."""
        return _blobs(self.document.get("layers") or ())

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All that it names but other manifests: the config and the layers."""
        document = self.document
        return tuple(dict.fromkeys((*_blobs([document["config"]] if "config" in document else ()), *self.layers)))

    @property
    def members(self) -> tuple[str, ...]:
        """The digests of the manifests that an index lists."""
        return tuple(str(item["digest"]) for item in self.document.get("manifests") or ())


async def fetch_manifest(client: RegistryClient, reference: Reference) -> Manifest:
    """The manifest that a reference leads to."""
    response = await client.request("GET", reference, f"manifests/{reference.target}", accept=ACCEPT)
    if response.status_code == httpx.codes.NOT_FOUND:
        raise Refused(f"`{reference}` does not exist", status=response.status_code)
    media_type = response.headers.get("content-type", MANIFEST_TYPES[0]).partition(";")[0]
    found = Manifest(response.content, media_type)
    if reference.digest and found.digest != reference.digest:
        raise Refused(f"`{reference.registry}` answered with another manifest than `{reference.digest}`")
    return found


async def put_manifest(client: RegistryClient, target: Reference, manifest: Manifest) -> None:
    """Put a manifest whose blobs, or members, are there under a tag or its digest."""
    response = await client.request(
        "PUT",
        target,
        f"manifests/{target.target}",
        content=manifest.content,
        media_type=manifest.media_type,
        action="push",
    )
    if not response.is_success:
        raise Refused(f"`{target.registry}` does not take `{target}`", status=response.status_code)


async def has_blob(client: RegistryClient, repository: Reference, digest: str) -> bool:
    """Whether a repository holds a blob."""
    response = await client.request("HEAD", repository, f"blobs/{digest}")
    return response.is_success


async def missing_blobs(client: RegistryClient, repository: Reference, manifest: Manifest) -> tuple[str, ...]:
    """The blobs that a manifest names and its repository lacks. Raises Refused when the registry does not say."""
    blobs = manifest.blobs
    found = await asyncio.gather(*(has_blob(client, repository, blob.digest) for blob in blobs))
    return tuple(blob.digest for blob, is_there in zip(blobs, found, strict=True) if not is_there)


async def is_whole(client: RegistryClient, reference: Reference) -> bool:
    """Whether a manifest is there, with all that it names. Raises Refused when the registry does not say."""
    try:
        manifest = await fetch_manifest(client, reference)
    except Refused as refusal:
        if refusal.status == httpx.codes.NOT_FOUND:
            return False
        raise
    return not await missing_blobs(client, reference, manifest)


@asynccontextmanager
async def open_blob(client: RegistryClient, repository: Reference, digest: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """A blob's content in chunks. What does not have its digest raises Refused at the end."""
    response = await client.request("GET", repository, f"blobs/{digest}", stream=True)
    if not response.is_success:
        raise Refused(f"`{repository}` is incomplete: its registry lacks `{digest}`", status=response.status_code)

    async def chunks() -> AsyncIterator[bytes]:
        seen = hashlib.sha256()
        try:
            async for chunk in response.aiter_raw():
                seen.update(chunk)
                yield chunk
        except httpx.HTTPError as error:
            raise Refused(f"`{repository.registry}` broke off `{digest}` ({type(error).__name__})") from error
        if "sha256:" + seen.hexdigest() != digest:
            raise Refused(f"`{repository.registry}` answered with other content than `{digest}`")

    try:
        yield chunks()
    finally:
        await response.aclose()


async def fetch_blob(client: RegistryClient, repository: Reference, digest: str) -> bytes:
    """The content of a blob that is small."""
    response = await client.request("GET", repository, f"blobs/{digest}")
    if not response.is_success:
        raise Refused(f"`{repository}` is incomplete: its registry lacks `{digest}`", status=response.status_code)
    if Blob.of(response.content).digest != digest:
        raise Refused(f"`{repository.registry}` answered with other content than `{digest}`")
    return response.content


async def mount_blob(client: RegistryClient, source: Reference, target: Reference, digest: str) -> str | None:
    """Have a blob of another repository of the same registry in `target` too, without moving it.

    None when that is done; else the address that the registry opened for an upload instead.
    """
    query = httpx.QueryParams({"mount": digest, "from": source.repository})
    response = await client.request(
        "POST", target, f"blobs/uploads/?{query}", content=b"", action="push", source=source.repository
    )
    if response.status_code == httpx.codes.CREATED:
        return None
    return _location(response, target)


async def abandon_upload(client: RegistryClient, target: Reference, location: str) -> None:
    """Tell a registry that nothing will come; it forgets an upload in time where it does not understand that."""
    with suppress(Refused):
        await client.request("DELETE", target, location, action="push")


async def start_upload(client: RegistryClient, target: Reference) -> str:
    """The address to send a blob to."""
    response = await client.request("POST", target, "blobs/uploads/", content=b"", action="push")
    return _location(response, target)


async def why_no_upload(client: RegistryClient, target: Reference) -> Refused | None:
    """What a registry says to an upload that is begun and taken back at once; None when it takes it."""
    try:
        await abandon_upload(client, target, await start_upload(client, target))
    except Refused as refusal:
        return refusal
    return None


async def upload_blob(
    client: RegistryClient, target: Reference, location: str, blob: Blob, content: bytes | AsyncIterator[bytes]
) -> None:
    """Send a blob's content to an address that the registry gave for it."""
    address = httpx.URL(location).copy_merge_params({"digest": blob.digest})
    response = await client.request(
        "PUT",
        target,
        str(address),
        content=content,
        media_type="application/octet-stream",
        action="push",
        headers={"Content-Length": str(blob.size)},
    )
    if not response.is_success:
        raise Refused(f"`{target.registry}` does not take `{blob.digest}`", status=response.status_code)


async def send_blob(client: RegistryClient, target: Reference, blob: Blob, content: bytes) -> None:
    """Send a blob that is small."""
    await upload_blob(client, target, await start_upload(client, target), blob, content)


def _blobs(descriptors: Iterable[Any]) -> tuple[Blob, ...]:
    try:
        return tuple(dict.fromkeys(Blob(str(item["digest"]), int(item["size"])) for item in descriptors))
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("a manifest is not what a manifest is") from error


def _location(response: httpx.Response, target: Reference) -> str:
    if response.status_code != httpx.codes.ACCEPTED or "location" not in response.headers:
        raise Refused(f"`{target.registry}` opens no upload to `{target.repository}`", status=response.status_code)
    return str(response.url.join(response.headers["location"]))
