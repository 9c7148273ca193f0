"""Where builds are measured: two engines of our own, one registry, and bases whose digest is new whenever one asks.

Everything that an engine remembers is thrown away between measurements, so no engine that anybody uses is taken.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scripts.machine.debian import BUNDLE_VARIABLES, ca_bundle

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
FLYTE = "flyteorg/flyte"
UV = "astral-sh/uv"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
NEWS = "etc/flytebuild-benchmark"


@dataclass(frozen=True)
class Engine:
    """One Docker Engine, by its `DOCKER_HOST`."""

    host: str

    def forget(self) -> None:
        """Throw away every image, layer, build result and cache mount."""
        with self._client() as client:
            for image in client.get("http://engine/images/json", params={"all": "1"}).json():
                client.delete(f"http://engine/images/{image['Id']}", params={"force": "1"})
            client.post("http://engine/build/prune", params={"all": "1"}).raise_for_status()
            client.post("http://engine/images/prune", params={"filters": '{"dangling":["false"]}'}).raise_for_status()

    def gateway(self) -> str:
        """The address by which containers reach this machine."""
        with self._client() as client:
            network = client.get("http://engine/networks/bridge").raise_for_status().json()
        return str(network["IPAM"]["Config"][0]["Gateway"])

    def _client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=self.host.removeprefix("unix://")), timeout=600)


@dataclass(frozen=True)
class Place:
    """Two engines and the registry, `host:port`; `docker_config` is where the `docker` command finds buildx."""

    first: Engine
    second: Engine
    registry: str
    docker_config: Path
    access_log: Path
    registry_process: int

    def new_repository(self) -> str:
        """A part of the registry that nothing was pushed to."""
        return f"{self.registry}/r{secrets.token_hex(4)}"

    def new_bases(self, *, are_moved: bool = False) -> Mapping[str, str]:
        """Flyte's and uv's image under digests that no engine has seen, by what they are called in public.

        Their layers stay the same ones, and BuildKit knows what it has made of them: only their configs differ. Where
        they `are_moved` Flyte's has a layer more, as after an update of a package.
        """
        mirror = f"{self.registry}/m{secrets.token_hex(4)}/ghcr.io"
        with httpx.Client(base_url=f"http://{self.registry}/v2/", timeout=60) as client:
            flyte = _copy(client, FLYTE, mirror.partition("/")[2], secrets.token_bytes(8) if are_moved else b"")
            uv = _copy(client, UV, mirror.partition("/")[2])
        return {f"ghcr.io/{FLYTE}:{flyte}": f"{mirror}/{FLYTE}:{flyte}", f"ghcr.io/{UV}:{uv}": f"{mirror}/{UV}:{uv}"}

    def blob_bytes(self) -> int:
        """Bytes of all blobs that the registry has served so far, by its access log."""
        total = 0
        for line in self.access_log.read_text(errors="replace").splitlines():
            words = line.split('"')
            # 127.0.0.1 - - [time] "GET /v2/…/blobs/sha256:… HTTP/1.1" 200 12345 "" "agent"
            if len(words) > 2 and words[1].startswith("GET") and "/blobs/" in words[1]:
                answer = words[2].split()
                total += int(answer[1]) if answer[0] in ("200", "206") else 0
        return total

    def written_bytes(self) -> int:
        """Bytes that the registry has written so far, to its disk and to whoever asked it."""
        counters = dict(line.split(": ") for line in Path(f"/proc/{self.registry_process}/io").read_text().splitlines())
        return int(counters["wchar"])


def bring_up(folder: Path, bases: str = "uv,flyte3.11") -> Place:
    """Bring up both engines and the registry, with these bases, below a folder; what is up already is taken."""
    one = up(folder / "first", bases)
    other = up(folder / "second", "")
    return Place(
        first=Engine(one["docker_host"]),
        second=Engine(other["docker_host"]),
        registry=one["registry"].partition("/")[0],
        docker_config=_buildx(folder / "first/root", folder / "docker"),
        access_log=folder / "first/logs/registry.log",
        registry_process=int(json.loads((folder / "first/machine.json").read_text())["registry"]["pid"]),
    )


def take_down(folder: Path) -> None:
    """Stop both engines and the registry, and remove all that they had."""
    for name in ("first", "second"):
        down(folder / name)
    shutil.rmtree(folder, ignore_errors=True)


def down(state: Path) -> None:
    """Stop the machine in a folder."""
    command = [sys.executable, "-m", "scripts.machine", "down", "--state", str(state)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def up(state: Path, bases: str) -> dict[str, Any]:
    """Bring up a machine of our own in a folder, with these bases; what is known of it."""
    command = [sys.executable, "-m", "scripts.machine", "up", "--no-reuse", "--state", str(state), "--bases", bases]
    environ = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    answer = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE, env=environ, text=True)
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


def _buildx(root: Path, folder: Path) -> Path:
    """The `docker buildx` that flyte's builder calls: Debian's, unpacked within the engine's own root."""
    plugin = folder / "cli-plugins/docker-buildx"
    if not plugin.exists():
        install = "apt-get update && apt-get install -y --no-install-recommends docker-buildx docker-cli"
        subprocess.run(["chroot", root, "sh", "-c", install], check=True, stdout=subprocess.DEVNULL)
        plugin.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "usr/libexec/docker/cli-plugins/docker-buildx", plugin)
        (folder / "bin").mkdir(exist_ok=True)
        shutil.copy(root / "usr/bin/docker", folder / "bin/docker")
    return folder


def _copy(client: httpx.Client, repository: str, mirror: str, news: bytes = b"") -> str:
    """Copy the one tag of a repository, with a label of its own in its config; returns the tag.

    Flyte's image gets what this machine trusts as well: its own builder has no other way to hand that to steps. What is
    `news` comes as a layer on top.
    """
    source = f"ghcr.io/{repository}"
    # uv is there with Pythons as well, by longer tags.
    tag = min(client.get(f"{source}/tags/list").raise_for_status().json()["tags"], key=len)
    manifest = client.get(f"{source}/manifests/{tag}", headers={"Accept": MANIFESTS}).raise_for_status().json()
    config = client.get(f"{source}/blobs/{manifest['config']['digest']}").raise_for_status().json()
    settings = config.setdefault("config", {})
    settings.setdefault("Labels", {})["dev.flytebuild.benchmark"] = secrets.token_hex(8)
    target = f"{mirror}/{repository}"
    for layer in manifest["layers"]:
        client.post(f"{target}/blobs/uploads/", params={"mount": layer["digest"], "from": source}).raise_for_status()
    files = {NEWS: news} if news else {}
    bundle = ca_bundle()
    if bundle and repository == FLYTE:
        files[BUNDLE] = bundle.read_bytes()
        settings["Env"] = [*(settings.get("Env") or ()), *(f"{name}=/{BUNDLE}" for name in BUNDLE_VARIABLES)]
    for name, content in files.items():
        tar = _tar(name, content)
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(tar).hexdigest())
        packed = _push(client, target, gzip.compress(tar, mtime=0))
        manifest["layers"].append({"mediaType": manifest["layers"][0]["mediaType"], **packed})
        config.pop("history", None)
    manifest["config"] |= _push(client, target, json.dumps(config).encode())
    headers = {"Content-Type": manifest["mediaType"]}
    client.put(f"{target}/manifests/{tag}", content=json.dumps(manifest), headers=headers).raise_for_status()
    return str(tag)


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _push(client: httpx.Client, repository: str, content: bytes) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    location = client.post(f"{repository}/blobs/uploads/").raise_for_status().headers["Location"]
    # The location has a state in its query, which must stay.
    target = httpx.URL(location).copy_merge_params({"digest": digest})
    client.put(target, content=content).raise_for_status()
    return {"digest": digest, "size": len(content)}
