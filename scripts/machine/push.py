"""Put an image of one layer into a registry over HTTP: no engine takes part, and no file is written in between."""

from __future__ import annotations

import hashlib
import http.client
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from scripts.machine.report import MachineError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
SECONDS = 120


@dataclass(frozen=True)
class Repository:
    """A repository of the registry on the loopback."""

    port: int
    name: str

    def has(self, tag: str) -> bool:
        status, _ = self._call("HEAD", f"manifests/{tag}", headers={"Accept": MANIFEST_TYPE})
        return status == 200

    def push(self, tag: str, tar: Iterable[bytes], config: dict[str, Any]) -> None:
        """Push an image; `config` is the OCI image configuration without its `rootfs`."""
        packed = _Gzip(tar)
        layer = self._put_blob(packed, LAYER_TYPE)
        root = {"type": "layers", "diff_ids": [f"sha256:{packed.unpacked.hexdigest()}"]}
        document = json.dumps({**config, "rootfs": root}, sort_keys=True).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self._put_blob([document], CONFIG_TYPE),
            "layers": [layer],
        }
        body = json.dumps(manifest, sort_keys=True).encode()
        status, _ = self._call("PUT", f"manifests/{tag}", body=body, headers={"Content-Type": MANIFEST_TYPE})
        self._expect(201, status)

    def _put_blob(self, chunks: Iterable[bytes], media_type: str) -> dict[str, Any]:
        """Upload a blob as it comes into being; its descriptor."""
        status, location = self._call("POST", "blobs/uploads/")
        self._expect(202, status)
        counted = _Counted(chunks)
        headers = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        status, location = self._call("PATCH", location, body=iter(counted), headers=headers)
        self._expect(202, status)
        digest = f"sha256:{counted.digest.hexdigest()}"
        status, _ = self._call("PUT", f"{location}&digest={digest}", headers={"Content-Length": "0"})
        self._expect(201, status)
        return {"mediaType": media_type, "digest": digest, "size": counted.size}

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """One request; the status, and the path that the answer points to."""
        target = path if path.startswith("/") else f"/v2/{self.name}/{path}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            chunked = (headers or {}).get("Transfer-Encoding") == "chunked"
            connection.request(method, target, body=body, headers=headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        url = urlsplit(response.getheader("Location") or "")
        return response.status, f"{url.path}?{url.query}"

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
