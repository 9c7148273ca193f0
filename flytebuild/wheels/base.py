"""What a base image has that decides what is installed on it: its Python, its C library, its packages of Python.

It is read from the image's layers in the registry, once for each digest: nothing has to run for it.
https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import HeaderParser
from typing import IO

import zstandard
from msgspec import Struct, field, to_builtins
from packaging.utils import canonicalize_name

from flytebuild.errors import RegistryUnavailableError
from flytebuild.events import Emit, Notice, ignore
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.content import fetch_manifest, open_blob
from flytebuild.registry.reference import Reference
from flytebuild.spec.prefix import VENV
from flytebuild.threads import in_thread
from flytebuild.wheels.environment import Installed
from flytebuild.wheels.metadata import Memory
from flytebuild.wheels.readiness import Readiness, is_plain

_PREFIX = VENV.lstrip("/")
_PACKAGES = re.compile(
    rf"{_PREFIX}/lib/python3\.\d+/site-packages/[^/]+\.dist-info/(?:METADATA|WHEEL|direct_url\.json)"
)
_PATCH = re.compile(r"usr(?:/local)?/include/python3\.\d+/patchlevel\.h")
_DPKG = "var/lib/dpkg/status"
_CONFIG = f"{_PREFIX}/pyvenv.cfg"
_LIBRARY = re.compile(rf"{_PREFIX}/lib/python(3\.\d+)/")
_FOLDERS = re.compile(rf"opt|{_PREFIX}(?:/bin|/lib(?:/python3\.\d+(?:/site-packages)?)?)?")
_TRACE = re.compile(rf"({_PREFIX}/lib/python3\.\d+/site-packages/[^/]+\.(?:dist-info|egg-info|egg-link))(?:/.*)?")
"""What tells that a package is there, in the form of today's installers or of older ones."""

KIND = "base 4"
"""Of what is remembered of bases, in the form of `encode`."""

_LARGEST = 16 * 2**20
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


class Base(Struct, frozen=True):
    """`python` is the version of the virtual environment that is there (empty: none), `pythons` those of others.

    `glibc` is the version of the C library, where dpkg knows it; `installed` is what the virtual environment holds.
    `odd` are those of its folders, and of those above it, that are no folders of root's that all may read (0755), and
    `unseen` is what tells of packages that it has, and not which they are: links, and forms of older installers.
    `is_ready` where images need nothing made of it: the virtual environment is there (`flytebuild.wheels.readiness`).
    """

    python: str = ""
    pythons: tuple[str, ...] = ()
    glibc: tuple[int, int] | None = None
    is_musl: bool = False
    installed: tuple[Installed, ...] = ()
    odd: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    is_ready: bool = False


async def read(client: RegistryClient, image: Reference, memory: Memory, emit: Emit = ignore) -> Base:
    """The base by its digest, from what is remembered or from its registry. Raises RegistryUnavailableError."""
    known = memory.remembered(KIND, image.digest or "")
    if known is not None:
        return decode(known)
    emit(Notice(f"looking at what `{image}` has installed"))
    found = Files()
    try:
        manifest = await fetch_manifest(client, image)
        for layer in manifest.layers:
            with tempfile.TemporaryFile(prefix="flytebuild-") as file:
                async with open_blob(client, image, layer.digest) as chunks:
                    async for chunk in chunks:
                        file.write(chunk)
                file.seek(0)
                await in_thread(lambda file=file: found.add(file), "flytebuild-base")  # type: ignore[misc]
    except (Refused, tarfile.TarError, zstandard.ZstdError, OSError) as error:
        raise RegistryUnavailableError(f"What `{image}` has installed cannot be read: {error}") from error
    base = found.base()
    memory.remember(KIND, image.digest or "", encode(base))
    return base


def encode(base: Base) -> str:
    """A base as text, to be remembered."""
    return json.dumps(to_builtins(base))


def decode(text: str) -> Base:
    """The inverse of `encode`."""
    document = json.loads(text)
    installed = tuple(Installed(**{**item, "tags": tuple(item["tags"])}) for item in document["installed"])
    glibc = tuple(document["glibc"]) if document["glibc"] else None
    more = (tuple(document["odd"]), tuple(document["unseen"]), document["is_ready"])
    return Base(document["python"], tuple(document["pythons"]), glibc, document["is_musl"], installed, *more)


class Files(Struct):
    """The files of an image that matter, layer by layer from the lowest."""

    _found: dict[str, bytes] = field(default_factory=dict)
    _odd: set[str] = field(default_factory=set)
    _links: set[str] = field(default_factory=set)
    _readiness: Readiness = field(default_factory=Readiness)

    def add(self, layer: IO[bytes]) -> None:
        """Put one more layer on top, a tar archive, compressed or not, that can be read from its start again."""
        added = dict[str, bytes]()
        linked = dict[str, str]()
        for path, member, archive in _members(layer):
            folder, _, name = path.rpartition("/")
            if name == _OPAQUE:
                self._remove(folder, is_kept=True)
                continue
            if name.startswith(_WHITEOUT):
                self._remove(f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
                continue
            self._readiness.add(path, member)
            if _FOLDERS.fullmatch(path):
                (self._odd.discard if is_plain(member) else self._odd.add)(path)
                (self._links.discard if member.isdir() else self._links.add)(path)
            elif _matters(path):
                added[path] = _content(member, archive)
                if member.islnk():
                    linked[path] = _path(member.linkname)
        if linked:
            # Installers link files of their caches, which are anywhere in the same layer.
            wanted = frozenset(linked.values())
            contents = {path: _content(member, archive) for path, member, archive in _members(layer) if path in wanted}
            added.update({path: contents.get(target, b"") for path, target in linked.items()})
        self._found.update(added)

    def _remove(self, path: str, *, is_kept: bool = False) -> None:
        """Take away what is below a path, and unless `is_kept` what is there."""

        def is_gone(item: str) -> bool:
            return item.startswith(f"{path}/") or (item == path and not is_kept)

        self._found = {item: content for item, content in self._found.items() if not is_gone(item)}
        self._odd = {item for item in self._odd if not is_gone(item)}
        self._links = {item for item in self._links if not is_gone(item)}
        self._readiness.remove(is_gone)

    def base(self) -> Base:
        """What the files say."""
        versions = _debian(self._text(_DPKG))
        glibc = re.match(r"(\d+)\.(\d+)", versions.get("libc6", ""))
        pythons = {
            match[1]
            for text in map(self._text, filter(_PATCH.fullmatch, self._found))
            if (match := re.search(r'#define\s+PY_VERSION\s+"(\d+\.\d+\.\d+)"', text))
        }
        pythons |= {
            match[0]
            for name, version in versions.items()
            if re.fullmatch(r"python3\.\d+-minimal", name) and (match := re.match(r"\d+\.\d+\.\d+", version))
        }
        installed = dict(self._installed())
        traces = {match[1] for match in map(_TRACE.fullmatch, self._found) if match}
        unseen = {*(traces - installed.keys()), *(path for path in self._links if not path.endswith("/bin"))}
        return Base(
            self._python(pythons),
            tuple(sorted(pythons)),
            (int(glibc[1]), int(glibc[2])) if glibc else None,
            any(path.startswith("lib/ld-musl-") for path in self._found),
            tuple(installed.values()),
            tuple(sorted(f"/{path}" for path in self._odd)),
            tuple(sorted(f"/{path}" for path in unseen)),
            self._readiness.holds() and not self._odd,
        )

    def _python(self, pythons: set[str]) -> str:
        """The version of the virtual environment, as exactly as it can be known."""
        config = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+(?:\.\d+)?)", self._text(_CONFIG), re.MULTILINE)
        if config:
            return config[1]
        minor = next((match[1] for path in self._found if (match := _LIBRARY.match(path))), "")
        return next((item for item in sorted(pythons) if minor and item.startswith(f"{minor}.")), minor)

    def _installed(self) -> Iterator[tuple[str, Installed]]:
        """Packages with their own folders."""
        for path in sorted(self._found):
            if path.endswith("/METADATA"):
                folder, metadata = path.rpartition("/")[0], self._text(path)
                header = HeaderParser().parsestr(metadata)
                wheel = HeaderParser().parsestr(self._text(f"{folder}/WHEEL"))
                if header["Name"] and header["Version"]:
                    name, tags = canonicalize_name(header["Name"]), tuple(wheel.get_all("Tag") or ())
                    is_direct = f"{folder}/direct_url.json" in self._found
                    yield folder, Installed(name, header["Version"], metadata, tags, is_direct)

    def _text(self, path: str) -> str:
        return self._found.get(path, b"").decode("utf-8", "replace")


def _members(layer: IO[bytes]) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """The entries of a layer, each by its path below the root."""
    layer.seek(0)
    with _unpacked(layer) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            yield _path(member.name), member, archive


def _path(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _content(member: tarfile.TarInfo, archive: tarfile.TarFile) -> bytes:
    """What a file holds; nothing of what is none, or is too large to be looked at."""
    content = archive.extractfile(member) if member.isreg() and member.size <= _LARGEST else None
    return content.read() if content else b""


def _matters(path: str) -> bool:
    return bool(
        path in (_DPKG, _CONFIG)
        or _PACKAGES.fullmatch(path)
        or ((trace := _TRACE.fullmatch(path)) and path in (trace[1], f"{trace[1]}/PKG-INFO"))
        or _PATCH.fullmatch(path)
        or path.startswith("lib/ld-musl-")
    )


def _debian(status: str) -> dict[str, str]:
    """The versions of Debian's packages, without their epochs."""
    found = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields and "Version" in fields:
            found[fields["Package"]] = fields["Version"].rpartition(":")[2]
    return found


@contextmanager
def _unpacked(layer: IO[bytes]) -> Iterator[IO[bytes]]:
    start = layer.read(4)
    layer.seek(0)
    if start == b"\x28\xb5\x2f\xfd":
        with zstandard.ZstdDecompressor().stream_reader(layer, read_across_frames=True) as stream:
            yield stream
    elif start[:2] == b"\x1f\x8b":
        with gzip.open(layer) as stream:
            yield stream  # type: ignore[misc]
    else:
        yield layer
