"""Put images into a registry over HTTP: no engine takes part, and no file is written in between."""

from __future__ import annotations

import hashlib
import http.client
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scripts.machine.report import MachineError

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
SECONDS = 120


@dataclass(frozen=True)
class Layer:
    """A layer that a registry has: its descriptor, and the digest of what is packed in it."""

    descriptor: dict[str, Any]
    diff_id: str


@dataclass(frozen=True)
class Repository:
    """A repository of the registry on the loopback."""

    port: int
    name: str

    def architectures(self, tag: str) -> frozenset[str]:
        """What the image at `tag` can be had for; nothing when there is no such image."""
        status, document = self._get(f"manifests/{tag}", f"{INDEX_TYPE}, {MANIFEST_TYPE}")
        if status != 200:
            return frozenset()
        if "manifests" in document:
            return frozenset(entry["platform"]["architecture"] for entry in document["manifests"])
        return frozenset([self._get(f"blobs/{document['config']['digest']}", "*/*")[1]["architecture"]])

    def push(self, tag: str, images: Sequence[dict[str, Any]]) -> None:
        """Give a name to images that are here already: to one as it is, to several as an index."""
        if len(images) == 1:
            (image,) = images
            _, body, _ = self._call("GET", f"manifests/{image['digest']}", headers={"Accept": MANIFEST_TYPE})
            self._put_manifest(tag, body, MANIFEST_TYPE)
        else:
            index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(images)}
            self._put_manifest(tag, json.dumps(index, sort_keys=True).encode(), INDEX_TYPE)

    def push_image(self, layers: Sequence[Layer], config: dict[str, Any]) -> dict[str, Any]:
        """Push an image without a name; its descriptor. `config` is the OCI image configuration without `rootfs`."""
        root = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
        document = json.dumps({**config, "rootfs": root}, sort_keys=True).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self._put_blob([document], CONFIG_TYPE),
            "layers": [layer.descriptor for layer in layers],
        }
        body = json.dumps(manifest, sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self._put_manifest(digest, body, MANIFEST_TYPE)
        platform = {"os": config["os"], "architecture": config["architecture"]}
        return {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(body), "platform": platform}

    def push_layer(self, tar: Iterable[bytes]) -> Layer:
        packed = _Gzip(tar)
        descriptor = self._put_blob(packed, LAYER_TYPE)
        return Layer(descriptor, f"sha256:{packed.unpacked.hexdigest()}")

    def take_layer(self, layer: Layer, other: Repository) -> None:
        """Have a layer that another repository has, without sending it."""
        path = f"blobs/uploads/?mount={layer.descriptor['digest']}&from={other.name}"
        status, _, _ = self._call("POST", path, headers={"Content-Length": "0"})
        self._expect(201, status)

    def _put_manifest(self, target: str, body: bytes, media_type: str) -> None:
        status, _, _ = self._call("PUT", f"manifests/{target}", body=body, headers={"Content-Type": media_type})
        self._expect(201, status)

    def _get(self, path: str, accept: str) -> tuple[int, Any]:
        status, body, _ = self._call("GET", path, headers={"Accept": accept})
        return status, json.loads(body) if status == 200 else None

    def _put_blob(self, chunks: Iterable[bytes], media_type: str) -> dict[str, Any]:
        """Upload a blob as it comes into being; its descriptor."""
        status, _, location = self._call("POST", "blobs/uploads/")
        self._expect(202, status)
        counted = _Counted(chunks)
        headers = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        status, _, location = self._call("PATCH", location, body=iter(counted), headers=headers)
        self._expect(202, status)
        digest = f"sha256:{counted.digest.hexdigest()}"
        status, _, _ = self._call("PUT", f"{location}&digest={digest}", headers={"Content-Length": "0"})
        self._expect(201, status)
        return {"mediaType": media_type, "digest": digest, "size": counted.size}

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, str]:
        """One request; the status, the body, and the path that the answer points to."""
        target = path if path.startswith("/") else f"/v2/{self.name}/{path}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            chunked = (headers or {}).get("Transfer-Encoding") == "chunked"
            connection.request(method, target, body=body, headers=headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        url = urlsplit(response.getheader("Location") or "")
        return response.status, content, f"{url.path}?{url.query}"

    def _expect(self, wanted: int, status: int) -> None:
        if status != wanted:
            raise MachineError(f"The registry answered {status} to a push of `{self.name}`")


class _Gzip:
    """Chunks, compressed on their way; the header has no time in it, so equal layers have equal digests."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.unpacked = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        # The lowest level: this goes over the loopback and no further.
        packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
        for chunk in self._chunks:
            self.unpacked.update(chunk)
            if packed := packer.compress(chunk):
                yield packed
        yield packer.flush()


class _Counted:
    """Chunks, with the digest and the size of what has passed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.digest.update(chunk)
            self.size += len(chunk)
            yield chunk
