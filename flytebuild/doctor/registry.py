"""The registry that images go to: reached, pushed to, and what it can do. Nothing is left there.

What is asked is the OCI distribution API: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time

import httpx

from flytebuild.config import Config
from flytebuild.doctor.check import Check, failed, ok, unknown, warning
from flytebuild.doctor.clock import examine_clock
from flytebuild.doctor.credentials import examine_credentials
from flytebuild.errors import RegistryUnavailableError, UsageError
from flytebuild.registry.client import MANIFEST_TYPES, Refused, RegistryClient
from flytebuild.registry.content import (
    Manifest,
    abandon_upload,
    fetch_manifest,
    mount_blob,
    put_manifest,
    why_no_upload,
)
from flytebuild.registry.reference import Reference, parse

_REPOSITORY = "flyte"
"""What images are called that have no name of their own."""

_BLOB_MISSING = {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"}
_NOT_TAKEN = {"MANIFEST_INVALID", "UNSUPPORTED"}
_UNSUPPORTED = (httpx.codes.UNSUPPORTED_MEDIA_TYPE, httpx.codes.NOT_ACCEPTABLE)


async def examine_registry(config: Config, transport: httpx.AsyncBaseTransport | None = None) -> tuple[Check, ...]:
    """The checks of the configured registry, in the order in which one needs the other."""
    if config.registry is None:
        if not config.builder:
            return (ok("registry", "none is configured: images stay in the engine's store"),)
        error = UsageError(
            "None is configured, and the builder is no Docker Engine, which could keep images itself",
            hint="set `registry` in the configuration, or `FLYTEBUILD_REGISTRY`",
        )
        return (failed("registry", error),)
    target = parse(f"{config.registry}/{_REPOSITORY}")
    credentials = await asyncio.to_thread(examine_credentials, target)
    async with RegistryClient(transport) as client:
        source = config.sources.get("registry", "registry")
        reached, clock = await _reach(client, target, source)
        if reached.status != "ok":
            return (reached, credentials)
        push = await _push(client, target)
        others = (await _mount(client, target), await _types(client, target)) if push.status == "ok" else ()
        return (reached, credentials, push, *others, await _referrers(client, target), clock)


async def _reach(client: RegistryClient, target: Reference, source: str) -> tuple[Check, Check]:
    asked = time.time()
    try:
        answer = await client.request("GET", target, "/v2/")
    except Refused as refusal:
        hint = f"check `{source}`, the network, and what `docker login {target.registry}` says"
        error = RegistryUnavailableError(_sentence(refusal), hint=hint)
        return failed("registry", error), unknown("registry's clock", "it was not reached")
    clock = examine_clock("registry's clock", answer.headers.get("date"), asked, time.time())
    if answer.is_success:
        return ok("registry", f"`{target.registry}` answers, from `{source}`"), clock
    error = RegistryUnavailableError(
        f"What answers at `{target.registry}` is no registry (status {answer.status_code})",
        hint=f"check `{source}`: it is a host, perhaps with a port and a path",
    )
    return failed("registry", error), clock


async def _push(client: RegistryClient, target: Reference) -> Check:
    if refusal := await why_no_upload(client, target):
        hint = f"`docker login {target.registry}` as someone who may push to `{target.repository}`"
        return failed("push", RegistryUnavailableError(_sentence(refusal), hint=hint))
    return ok("push", f"allowed to `{target.registry}/{target.repository}`")


async def _mount(client: RegistryClient, target: Reference) -> Check:
    """Mount a blob where it is already: what is asked is the same, and there is nothing to take back."""
    try:
        blob = await _any_blob(client, target)
        if blob is None:
            return unknown("mounts", f"`{target.repository}` is empty, so there is nothing to try it with")
        location = await mount_blob(client, target, target, blob)
        if location is None:
            return ok("mounts", "blobs of other repositories are taken over without moving them")
        await abandon_upload(client, target, location)
    except Refused as refusal:
        return unknown("mounts", _sentence(refusal))
    return warning(
        "mounts",
        "it takes over no blobs of other repositories: layers of bases are sent to each repository",
        "let images share one repository, or use a registry that mounts blobs",
    )


async def _any_blob(client: RegistryClient, target: Reference) -> str | None:
    answer = await client.request("GET", target, "tags/list?n=1")
    try:
        tags = answer.json().get("tags") if answer.is_success else None
    except (ValueError, AttributeError) as error:
        raise Refused(f"`{target.registry}` lists no tags") from error
    if not tags:
        return None
    manifest = await fetch_manifest(client, Reference(target.registry, target.repository, str(tags[0])))
    for member in manifest.members[:1]:
        manifest = await fetch_manifest(client, target.pinned(member))
    return manifest.blobs[0].digest if manifest.blobs else None


async def _types(client: RegistryClient, target: Reference) -> Check:
    """Offer a manifest whose config is nowhere: whoever knows the type misses that."""
    nothing = "sha256:" + hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": nothing, "size": 2}
    manifest = Manifest.of({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "config": config, "layers": []})
    kept = target.pinned(manifest.digest)
    try:
        await put_manifest(client, kept, manifest)
    except Refused as refusal:
        if _BLOB_MISSING.intersection(refusal.codes):
            return ok("oci types", "taken")
        if _NOT_TAKEN.intersection(refusal.codes) or refusal.status in _UNSUPPORTED:
            message = f"`{target.registry}` does not take OCI manifests, in which layers are packed with zstd"
            hint = 'set `compression = "gzip"`, or use a registry that knows the OCI image format'
            return failed("oci types", RegistryUnavailableError(message, hint=hint))
        return unknown("oci types", _sentence(refusal))
    try:
        await client.request("DELETE", kept, f"manifests/{kept.target}", action="push")
    except Refused as refusal:
        return warning(
            "oci types",
            f"taken, even without what a manifest names, and not given back: {refusal}",
            f"remove `{kept}`, which is nothing",
        )
    return ok("oci types", "taken")


async def _referrers(client: RegistryClient, target: Reference) -> Check:
    nothing = "sha256:" + hashlib.sha256(b"").hexdigest()
    try:
        answer = await client.request("GET", target, f"referrers/{nothing}")
    except Refused as refusal:
        return unknown("referrers", _sentence(refusal))
    said = "offered" if answer.is_success and _is_index(answer) else "not offered; no build needs it"
    return ok("referrers", said)


def _is_index(answer: httpx.Response) -> bool:
    try:
        return "manifests" in json.loads(answer.content)
    except (ValueError, TypeError):
        return False


def _sentence(refusal: Refused) -> str:
    """The refusal with the codes that the registry gave."""
    return f"{refusal} ({', '.join(refusal.codes)})" if refusal.codes else str(refusal)
