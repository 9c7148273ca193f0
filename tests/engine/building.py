"""Building images of the SDK on the real engine, many at once, and looking into them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
import flyte
import httpx
import pytest
import zstandard
from msgspec.structs import replace

from flytebuild import config, pipeline
from flytebuild.authoring.images import Reader
from flytebuild.authoring.site import recorded
from flytebuild.errors import BuildError, StepFailure
from flytebuild.events import Event
from flytebuild.graph import EnvironmentNode
from flytebuild.llb.source import pinned
from flytebuild.plan import Plan
from tests import plain
from tests.conftest import Machine

_ATTEMPTS = 4
_NO_NAME_SERVER = "Temporary failure in name resolution"
"""What a step says when its network's name server does not answer for a while, which is no defect of the image's."""

FLYTE_BASE = "ghcr.io/flyteorg/flyte:py3.11-v2.12.1"


@dataclass(frozen=True)
class Member:
    """One entry of an image's own layers, as the last of them has it."""

    kind: str
    mode: int
    uid: int
    gid: int
    time: float
    target: str
    content: bytes


@dataclass(frozen=True)
class Built:
    """An image that was built, in the registry; the engine pulls it when it runs."""

    reference: str
    base_layers: int
    client: docker.DockerClient = field(repr=False)

    def run(self, *command: str, **options: Any) -> str:
        """What a command prints in a container, both streams of it."""
        return output_of(self.client, self.reference, command, **options)

    def sh(self, script: str, **options: Any) -> list[str]:
        """The lines that a shell script prints, whatever the image's entry point is."""
        options = {"entrypoint": ["/bin/sh", "-ec"], **options}
        return self.run(script, **options).splitlines()

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the image says of its containers."""
        found: dict[str, Any] = json.loads(self._blob(self._manifest["config"]["digest"]))["config"]
        return found

    @property
    def env(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self.config["Env"])

    @cached_property
    def layers(self) -> list[bytes]:
        """The image's own layers without its base's, unpacked."""
        return [unpacked(self._blob(item["digest"])) for item in self._manifest["layers"][self.base_layers :]]

    @property
    def documents(self) -> list[bytes]:
        """The manifest and the config, which has the history."""
        return [json.dumps(self._manifest).encode(), self._blob(self._manifest["config"]["digest"])]

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return manifest(self.reference)

    def _blob(self, digest: str) -> bytes:
        host, _, path = self.reference.partition("/")
        answer = plain.get(f"http://{host}/v2/{path.rpartition(':')[0]}/blobs/{digest}", timeout=60)
        return answer.raise_for_status().content

    @cached_property
    def added(self) -> dict[str, Member]:
        """What the image's own layers hold, by absolute path."""
        found = {}
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                for member in tar:
                    content = tar.extractfile(member) if member.isfile() else None
                    found["/" + member.name.rstrip("/")] = Member(
                        "dir" if member.isdir() else "link" if member.issym() else "file",
                        member.mode,
                        member.uid,
                        member.gid,
                        member.mtime,
                        member.linkname,
                        content.read() if content else b"",
                    )
        return found

    @property
    def bytecode(self) -> dict[str, int]:
        """The kind of bytecode (the second word of PEP 552) in the image's own layers, by its source's path."""
        found = {}
        for path, member in self.added.items():
            folder, _, name = path.rpartition("/__pycache__/")
            if name.endswith(".pyc"):
                found[f"{folder}/{name.partition('.')[0]}.py"] = int.from_bytes(member.content[4:8], "little")
        return found

    def added_outside(self, *folders: str) -> set[str]:
        """The files of the image's own layers that are in none of these folders."""
        return {
            path
            for path, member in self.added.items()
            if member.kind != "dir" and not any(path == folder or path.startswith(folder + "/") for folder in folders)
        }


def gateway(client: docker.DockerClient) -> str:
    """The address of this machine that steps and containers reach: they have a loopback of their own."""
    (network,) = client.networks.list(names=["bridge"])
    return str(network.attrs["IPAM"]["Config"][0]["Gateway"])


def output_of(client: docker.DockerClient, reference: str, command: str | Sequence[str] = (), **options: Any) -> str:
    """What a command prints in a container of an image, both streams of it."""
    have(client, reference, platform=options.get("platform"))
    return str(client.containers.run(reference, command or None, remove=True, stderr=True, **options).decode())


def have(client: docker.DockerClient, reference: str, *, platform: str | None = None) -> None:
    """Pull an image that the engine lacks, and whenever a platform is asked for.

    The SDK's own `pull` does not look at what the engine says. A pull that breaks off is begun again, as it is by the
    control plane: the engine may drop content of its cache that the pull has found there.
    """
    if platform is None:
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.get(reference)
            return
    said: list[str] = []
    for _ in range(_ATTEMPTS):
        answers = client.api.pull(reference, platform=platform, stream=True, decode=True)
        broken = [message["error"] for message in answers if "error" in message]
        if not broken:
            return
        said += broken
    raise AssertionError(f"`{reference}` cannot be pulled: {said}")


def manifest(reference: str, auth: tuple[str, str] | None = None) -> dict[str, Any]:
    """A manifest of a registry on this machine."""
    found: dict[str, Any] = _answer(reference, auth).json()
    return found


def digest(reference: str) -> str:
    """The digest of what the machine's registry has under a reference."""
    return str(_answer(reference).headers["docker-content-digest"])


def _answer(reference: str, auth: tuple[str, str] | None = None) -> httpx.Response:
    host, _, path = reference.partition("/")
    name, _, target = path.partition("@") if "@" in path else path.rpartition(":")
    types = ("oci.image.manifest.v1", "docker.distribution.manifest.v2", "oci.image.index.v1")
    accept = ", ".join(f"application/vnd.{item}+json" for item in types)
    answer = plain.get(f"http://{host}/v2/{name}/manifests/{target}", headers={"Accept": accept}, auth=auth)
    return answer.raise_for_status()


def unpacked(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True) as reader:
            return bytes(reader.read())
    return content


@dataclass
class Builds:
    """Builds images by name, all of a call in one plan; `settings` are those of flytebuild's configuration."""

    settings: config.Config
    client: docker.DockerClient
    token: str = field(default_factory=lambda: f"t{secrets.token_hex(5)}")
    events: list[Event] = field(default_factory=list)
    _references: list[str] = field(default_factory=list)

    def named(self, image: flyte.Image) -> flyte.Image:
        """The image under a name that no other run uses: the engine's store is shared."""
        return image.clone(name=self.token, extendable=True)

    @property
    def base(self) -> flyte.Image:
        """Flyte's own image for Python 3.11, to be extended."""
        return self.named(flyte.Image.from_base(FLYTE_BASE).clone(python_version=(3, 11), name="x"))

    def dockerfile(self, folder: Path) -> flyte.Image:
        """The image of a folder's Dockerfile, in the registry of these builds."""
        return flyte.Image.from_dockerfile(folder / "Dockerfile", self.settings.registry or "", self.token)

    def plan(self, images: Mapping[str, flyte.Image], settings: config.Config | None = None) -> Plan:
        nodes = [
            EnvironmentNode(name=name, file=None, depends_on=(), tasks=(), image=Reader().define(image, name))
            for name, image in images.items()
        ]
        return asyncio.run(pipeline.plan_nodes(settings or self.settings, nodes))

    def build(self, images: Mapping[str, flyte.Image]) -> dict[str, Built]:
        """Build what is missing, and give every image by its name."""
        planned = self.plan(images)
        self._references += [image.reference for image in planned.images if image.digest]
        for attempt in range(_ATTEMPTS):
            try:
                asyncio.run(pipeline.build(self.settings, planned, self.events.append))
                break
            except BuildError as error:
                told = [f"{item.step} {item.message}\n" + "\n".join(item.log) for item in error.failures]
                if attempt + 1 == _ATTEMPTS or not all(_NO_NAME_SERVER in text for text in told):
                    raise AssertionError("\n".join(told)) from error
                planned = self.plan(images)
        layers: dict[str, int] = {}
        for image in planned.images:
            base = image.spec.base if image.spec else None
            layers[image.reference] = len(manifest(pinned(base))["layers"]) if base else 0
        return {item.name: Built(item.image, layers[item.image], self.client) for item in planned.environments}

    def failure(self, planned: Plan) -> StepFailure:
        """The one step that fails when this is built."""
        with pytest.raises(BuildError) as caught:
            asyncio.run(pipeline.build(self.settings, planned, self.events.append))
        (failure,) = caught.value.failures
        return failure

    def close(self) -> None:
        for reference in dict.fromkeys(self._references):
            with contextlib.suppress(docker.errors.ImageNotFound):
                self.client.images.remove(reference, force=True)


@contextmanager
def in_registry(machine: Machine) -> Iterator[Builds]:
    """Builds into the machine's registry and the engine; what they made is removed from the engine at the end."""
    client = docker.from_env()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLYTEBUILD_")}
    given = config.load(Path("/"), environ, stat_cache=False, registry=machine.registry)
    made = Builds(replace(given, mirrors=machine.mirrors), client)
    try:
        with recorded():
            yield made
    finally:
        made.close()
        client.close()
