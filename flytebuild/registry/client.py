"""Questions to registries over the OCI distribution API.

https://github.com/opencontainers/distribution-spec.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Literal, TypeAlias

import httpx
import rfc8785

from flytebuild.facts import Absent, Fact, Present, Unknown
from flytebuild.registry.auth import Authorizer, NotAuthorizedError
from flytebuild.registry.credentials import Found, api_host, look_up
from flytebuild.registry.reference import Reference
from flytebuild.registry.trust import trusted
from flytebuild.spec.canonical import encode
from flytebuild.spec.images import OUR_LABELS, Platform, ResolvedImage, RuntimeConfig

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join(INDEX_TYPES + MANIFEST_TYPES)
"""What is asked for where a manifest is: without it registries deny that they have one."""

Action: TypeAlias = Literal["pull", "push", "delete"]
"""What a request is for; registries that give out tokens give one for each."""

_TIMEOUT = httpx.Timeout(20, connect=5)
_CONNECTIONS = 32
_UNPROXIED: Mapping[str, None] = MappingProxyType(dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]")))
"""What is asked without the host's proxies, whatever `NO_PROXY` says, as by Docker."""

_PASSED_THROUGH = ("ExposedPorts", "Healthcheck", "StopSignal", "Volumes")

_USUAL_VARIANTS = {"amd64": "v1", "arm64": "v8"}
"""What an architecture without a variant means."""

_MALFORMED = (KeyError, TypeError, AttributeError, ValueError)
"""What reading a document of an unexpected form ends in."""


class Refused(Exception):
    """The registry's answer cannot be used, or there is none; the text says why.

    `codes` are those of the distribution API (`BLOB_UNKNOWN`), where the registry gave any.
    """

    def __init__(
        self, message: str, *, is_unreachable: bool = False, status: int | None = None, codes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.is_unreachable = is_unreachable
        self.status = status
        self.codes = codes


class Silent(Refused):
    """The registry did not answer in time."""


class _OtherPlatforms(Refused):
    """The image is there, and for certain not for the platform that was asked for."""


class _Missing(Refused):
    """The registry says that there is no such image."""


@dataclass
class RegistryClient:
    """One pool of connections for all registries of a plan; use it as an async context manager.

    `transport` is httpx's seam: what carries the requests instead of the network. `look_up` knows the credentials for a
    registry's repositories, and may block.
    """

    transport: httpx.AsyncBaseTransport | None = None
    look_up: Callable[[str, str], Found] = look_up
    _http: httpx.AsyncClient = field(init=False)
    _authorizer: Authorizer = field(init=False)

    async def __aenter__(self) -> RegistryClient:
        limits = httpx.Limits(max_connections=_CONNECTIONS)
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT,
            limits=limits,
            follow_redirects=True,
            transport=self.transport,
            mounts=_UNPROXIED,
            verify=trusted(),
        )
        self._authorizer = Authorizer(self._http, self.look_up)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def presence(self, reference: Reference) -> Fact:
        """Whether a manifest is there; Unknown when the registry does not say."""
        try:
            response = await self.request("HEAD", reference, f"manifests/{reference.target}", accept=ACCEPT)
        except Refused as refusal:
            return Unknown(str(refusal), refusal.is_unreachable)
        if response.status_code == httpx.codes.NOT_FOUND:
            return Absent()
        digest = response.headers.get("docker-content-digest")
        return Present(digest) if digest else Unknown(f"`{reference.registry}` gives no digest for `{reference}`")

    async def resolve(self, asked: str, location: Reference, platform: Platform) -> ResolvedImage:
        """The manifest's digest and the config of an image for one platform; `problem` says what went wrong."""
        try:
            digest, manifest = await self._manifest(location, location.target)
            if _is_index(manifest):
                digest = _entry_for(manifest, platform, location)
                digest, manifest = await self._manifest(location, digest)
            config = await self._json(location, f"blobs/{manifest['config']['digest']}", manifest["config"]["digest"])
            _check_platform(config, platform, location)
            said = config.get("config") or {}
            found = _runtime_config(said)
            # What has no canonical form can be part of no image.
            encode(found.document())
            on_build = tuple(map(str, said.get("OnBuild") or ()))
            size = sum(layer["size"] for layer in manifest["layers"]) if "layers" in manifest else None
        except Refused as refusal:
            return ResolvedImage(
                asked,
                str(location),
                problem=str(refusal),
                is_for_others=isinstance(refusal, _OtherPlatforms),
                is_missing=isinstance(refusal, _Missing),
            )
        except _MALFORMED as error:
            return ResolvedImage(asked, str(location), problem=_malformed(location, error))
        return ResolvedImage(asked, str(location), digest, found, on_build=on_build, size=size)

    async def pin(self, asked: str, location: Reference) -> ResolvedImage:
        """The digest of what a reference names, an index where it is one, and nothing of what is in it."""
        match await self.presence(location):
            case Present(digest=digest):
                return ResolvedImage(asked, str(location), digest)
            case Absent():
                return ResolvedImage(asked, str(location), problem=f"`{location}` does not exist")
            case Unknown(reason=reason):
                return ResolvedImage(asked, str(location), problem=reason)

    async def labels(self, reference: Reference, digest: str) -> dict[str, str] | Unknown:
        """The labels of an image that is known to be there, or the annotations of an index."""
        try:
            _, manifest = await self._manifest(reference, digest)
            if _is_index(manifest):
                return dict(manifest.get("annotations") or {})
            config_digest = manifest["config"]["digest"]
            config = await self._json(reference, f"blobs/{config_digest}", config_digest)
            return dict((config.get("config") or {}).get("Labels") or {})
        except Refused as refusal:
            return Unknown(str(refusal))
        except _MALFORMED as error:
            return Unknown(_malformed(reference, error))

    async def _manifest(self, reference: Reference, target: str) -> tuple[str, dict[str, Any]]:
        response = await self.request("GET", reference, f"manifests/{target}", accept=ACCEPT)
        if response.status_code == httpx.codes.NOT_FOUND:
            kind = _Missing if target == reference.target else Refused
            raise kind(f"`{reference}` does not exist")
        digest = "sha256:" + hashlib.sha256(response.content).hexdigest()
        if target.startswith("sha256:") and digest != target:
            raise Refused(f"`{reference.registry}` answered with another manifest than `{target}`")
        return digest, _parse(response, reference)

    async def _json(self, reference: Reference, path: str, digest: str) -> dict[str, Any]:
        response = await self.request("GET", reference, path)
        if response.status_code == httpx.codes.NOT_FOUND:
            raise Refused(f"`{reference}` is incomplete: its registry lacks `{digest}`")
        if "sha256:" + hashlib.sha256(response.content).hexdigest() != digest:
            raise Refused(f"`{reference.registry}` answered with other content than `{digest}`")
        return _parse(response, reference)

    async def request(
        self,
        method: str,
        reference: Reference,
        path: str,
        accept: str = "*/*",
        content: bytes | AsyncIterator[bytes] | None = None,
        media_type: str = "",
        *,
        action: Action = "pull",
        source: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
        stream: bool = False,
    ) -> httpx.Response:
        """One answer of success or 404, after authentication where it is asked for; anything else is Refused.

        `path` is below the repository, or an address that the registry gave; `source` is another repository that is
        read from. With `stream` the body is still to be read, and the response to be closed.
        """
        host = api_host(reference.registry)
        scheme = "http" if reference.is_loopback else "https"
        root = httpx.URL(f"{scheme}://{host}/")
        url = root.join(path if path.startswith(("/", "http")) else f"/v2/{reference.repository}/{path}")
        headers = {"Accept": accept, **headers} | ({"Content-Type": media_type} if media_type else {})
        # A token is for what the registry was asked then: one to read with does not publish.
        purpose = (host, reference.repository, f"{action} {source}")
        is_ours = url.host == root.host
        sent = self._authorizer.header(purpose) if is_ours else None
        try:
            response = await self._send(method, url, headers | _authorization(sent), content, stream=stream)
            # What has been read from a stream is gone: it cannot be sent once more.
            may_repeat = is_ours and not isinstance(content, AsyncIterator)
            if response.status_code == httpx.codes.UNAUTHORIZED and may_repeat:
                sent = await self._authorizer.answer(purpose, response, sent)
                response = await self._send(method, url, headers | _authorization(sent), content, stream=stream)
        except NotAuthorizedError as refusal:
            raise Refused(str(refusal), status=httpx.codes.UNAUTHORIZED) from refusal
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unanswered(reference.registry, error) from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            message = f"`{reference.registry}` refuses access to `{reference.repository}`"
            raise Refused(message, status=response.status_code)
        if not response.is_success and response.status_code != httpx.codes.NOT_FOUND:
            message = f"`{reference.registry}` answers with status {response.status_code}"
            raise Refused(message, status=response.status_code, codes=() if stream else _codes(response))
        return response

    async def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | None,
        *,
        stream: bool,
    ) -> httpx.Response:
        """One answer; its body is left unread only where it is what was asked for."""
        request = self._http.build_request(method, url, headers=headers, content=content)
        response = await self._http.send(request, stream=stream)
        if stream and not response.is_success:
            await response.aclose()
        return response


def _authorization(header: str | None) -> dict[str, str]:
    return {"Authorization": header} if header else {}


def _is_index(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("mediaType") in INDEX_TYPES or "manifests" in manifest


def _malformed(reference: Reference, error: Exception) -> str:
    return f"`{reference}` has a manifest or config of a form that is not an image's ({type(error).__name__})"


def _unanswered(registry: str, error: Exception) -> Refused:
    """What it means that a request failed. A registry that we do not trust is there: the engine may well trust it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Refused(f"`{registry}` cannot be reached by TLS ({_reason(error)})")
        cause = cause.__cause__ or cause.__context__
    is_unreachable = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
    kind = Silent if isinstance(error, (httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout)) else Refused
    return kind(f"`{registry}` does not answer ({_reason(error)})", is_unreachable=is_unreachable)


def _codes(response: httpx.Response) -> tuple[str, ...]:
    try:
        return tuple(str(item["code"]) for item in response.json()["errors"])
    except _MALFORMED:
        return ()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _parse(response: httpx.Response, reference: Reference) -> dict[str, Any]:
    try:
        document = json.loads(response.content)
    except ValueError as error:
        raise Refused(f"`{reference.registry}` answers with something that is not JSON") from error
    if not isinstance(document, dict):
        raise Refused(f"`{reference.registry}` answers with something that is not a manifest")
    return document


def _entry_for(index: dict[str, Any], platform: Platform, reference: Reference) -> str:
    """The digest of the platform's manifest; of several variants that one which every such processor runs."""
    usual = platform.variant or _USUAL_VARIANTS.get(platform.architecture, "")
    offered, others = [], []
    for entry in index.get("manifests", ()):
        found = entry.get("platform") or {}
        if (found.get("os"), found.get("architecture")) == (platform.os, platform.architecture):
            if found.get("variant") in (None, "", usual):
                return str(entry["digest"])
            others.append(str(entry["digest"]))
        offered.append(f"{found.get('os')}/{found.get('architecture')}")
    if others:
        return others[0]
    raise _OtherPlatforms(f"`{reference}` is not there for `{platform}`, only for {', '.join(sorted(set(offered)))}")


def _check_platform(config: dict[str, Any], platform: Platform, reference: Reference) -> None:
    """A manifest may be listed for a platform that its content is not of; the config is what it was built as."""
    found = (config.get("os", platform.os), config.get("architecture", platform.architecture))
    if found != (platform.os, platform.architecture):
        raise _OtherPlatforms(f"`{reference}` is for `{found[0]}/{found[1]}`, not for `{platform}`")


def _runtime_config(config: dict[str, Any]) -> RuntimeConfig:
    other = {key: config[key] for key in _PASSED_THROUGH if config.get(key)}
    return RuntimeConfig(
        env=tuple((name, value) for name, _, value in (item.partition("=") for item in config.get("Env") or ())),
        user=config.get("User") or "",
        workdir=config.get("WorkingDir") or "/",
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        # What flytebuild says of an image is said anew of every other one that is made of it.
        labels=tuple(item for item in (config.get("Labels") or {}).items() if not item[0].startswith(OUR_LABELS)),
        shell=tuple(config.get("Shell") or ()),
        other=rfc8785.dumps(other).decode() if other else "",
    )
