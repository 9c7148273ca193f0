"""Image references: parsing, Docker's defaults, mirrors.

The grammar is that of https://github.com/distribution/reference: `[host[:port]/]path[:tag][@digest]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.errors import UsageError

DOCKER_HUB = "docker.io"

_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")


class Reference(Struct, frozen=True):
    """One image in one registry; at least one of `tag` and `digest` is set.

    `registry` is the host as users write it (`docker.io` for the Docker Hub), `repository` the path below it.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, where engines speak plain HTTP to it."""
        return is_loopback(self.registry.rpartition(":")[0] or self.registry)

    @property
    def target(self) -> str:
        """What the registry's API asks for: the digest when there is one, else the tag."""
        return self.digest or self.tag or "latest"

    @property
    def name(self) -> str:
        """The repository with its registry."""
        return f"{self.registry}/{self.repository}"

    def tagged(self, tag: str) -> Reference:
        """Another tag of the same repository."""
        return replace(self, tag=tag, digest=None)

    def pinned(self, digest: str) -> Reference:
        """The same image by its digest alone."""
        return replace(self, tag=None, digest=digest)


def is_loopback(host: str) -> bool:
    """Whether a host, without a port, is this machine by its name alone."""
    return host == "localhost" or host.startswith("127.") or host.strip("[]") == "::1"


def parse(text: str) -> Reference:
    """Read a reference with Docker's defaults (`docker.io`, `library/`, `latest`).

    Raises UsageError where the text is not a reference.
    """
    name, _, digest = text.partition("@")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        registry, path = DOCKER_HUB, name
    path, _, tag = path.partition(":")
    if registry == DOCKER_HUB and path and "/" not in path:
        path = f"library/{path}"
    if (
        not _HOST.fullmatch(registry)
        or not _PATH.fullmatch(path)
        or (":" in name.rpartition("/")[2] and not _TAG.fullmatch(tag))
        or ("@" in text and not _DIGEST.fullmatch(digest))
    ):
        raise UsageError(
            f"`{without_credentials(text)}` is not an image reference",
            hint="an example of one: `registry.example.com/team/image:tag`",
        )
    return Reference(registry, path, tag or (None if digest else "latest"), digest or None)


def without_credentials(text: str) -> str:
    """What may be shown of something that was to be a reference: a user and password in it may not."""
    _, at, rest = text.rpartition("@")
    return f"…@{rest}" if at and not rest.startswith(("sha256:", "sha512:")) else text


def familiar(text: str) -> str:
    """The short form that Docker's tools call an image by: without the Docker Hub's defaults."""
    reference = parse(text)
    shown = str(reference).removeprefix(f"{DOCKER_HUB}/").removeprefix("library/")
    return shown.removesuffix(":latest")


def mirrored(reference: str, mirrors: Mapping[str, str]) -> str:
    """The reference to fetch instead: the longest matching prefix of whole path segments is replaced.

    Unknown references come back in full form, so that `python:3.11` and `docker.io/library/python:3.11` are one.
    """
    full = str(parse(reference))
    for prefix in sorted(mirrors, key=len, reverse=True):
        stem = prefix.rstrip("/")
        if full.startswith(stem) and full[len(stem) : len(stem) + 1] in ("/", ":", "@"):
            return mirrors[prefix] + full[len(stem) :]
    return full
