"""A registry of the simplest kind on a loopback port: it serves what a test puts there."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.serving import Quiet, answering


class Objects(dict[str, bytes]):
    """What a registry serves, by path, and the paths that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []


@contextmanager
def registry() -> Iterator[tuple[str, Objects]]:
    """A registry on a loopback port that serves the objects in a dictionary, by path."""
    objects = Objects()

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            objects.asked.append(self.path)
            content = objects.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            if content:
                self.send_header("Docker-Content-Digest", digest_of(content))
            self.end_headers()
            if content and self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

    with answering(Handler) as host:
        yield host, objects


@contextmanager
def with_base() -> Iterator[tuple[Objects, dict[str, str]]]:
    """A registry that has `base.test/x:1` and uv, and the variables by which a plan uses it and nothing else."""
    with registry() as (host, objects):
        publish(objects, "x", "1", "amd64")
        publish(objects, "astral-sh/uv", "0.13.4", "amd64")
        environ = {
            "FLYTEBUILD_REGISTRY": f"{host}/mine",
            "FLYTEBUILD_MIRRORS": f"base.test={host},ghcr.io={host}",
            "FLYTEBUILD_PLATFORMS": "linux/amd64",
        }
        yield objects, environ


def publish(
    objects: dict[str, bytes],
    name: str,
    tag: str,
    architecture: str,
    labels: dict[str, str] | None = None,
    *,
    is_index: bool = False,
) -> None:
    """Put an image there, alone or as the only one of an index."""
    document = {"os": "linux", "architecture": architecture, "config": {"Labels": labels or {}}}
    config = json.dumps(document).encode()
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"mediaType": media_type, "config": {"digest": digest_of(config)}}).encode()
    platform = {"os": "linux", "architecture": architecture}
    index = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": media_type, "digest": digest_of(manifest), "platform": platform}],
    }
    objects[f"/v2/{name}/blobs/{digest_of(config)}"] = config
    objects[f"/v2/{name}/manifests/{digest_of(manifest)}"] = manifest
    objects[f"/v2/{name}/manifests/{tag}"] = json.dumps(index).encode() if is_index else manifest


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
