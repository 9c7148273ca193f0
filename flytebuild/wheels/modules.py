"""Which modules wheels bring: read from the list of files at a wheel's end, and from nothing else of it.

A wheel is a ZIP archive, whose list of files (its central directory) is the last thing in it.
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import httpx
from msgspec import Struct
from msgspec.structs import replace

from flytebuild.spec.layers import Pin
from flytebuild.wheels.metadata import Memory
from flytebuild.wheels.servers import Servers, each, reached

_KIND = "modules 2"
"""Of what is remembered: a wheel's modules, one in a line."""

_END = 64 * 1024
"""So many bytes of a wheel's end are fetched first: the whole list of files, of most."""

_LARGEST = 16 * 2**20
_RECORD = 22
"""The bytes that end a ZIP archive without a comment, as wheels are; four of them say how long the list is."""

_FOLDED = 8
"""A folder of a namespace that has more single modules than this stands for them; packages are each for themselves."""


class Named(Struct, frozen=True):
    """Wheels with their modules, and the hosts that did not answer in time, of whose wheels these stay unknown."""

    pins: tuple[Pin, ...]
    silent: tuple[str, ...] = ()


class ModuleReader(Struct, frozen=True):
    """Reads the modules of wheels by HTTP; what was read is remembered by the wheel's hash."""

    memory: Memory
    ca_bundle: Path | None = None

    def named(self, pins: Sequence[Pin]) -> Named:
        """The same wheels with their modules, as far as their servers let anybody see the end of a file."""
        known = [replace(pin, modules=self._recall(pin)) if pin.modules is None else pin for pin in pins]
        missing = [pin for pin in known if pin.modules is None and pin.url.startswith(("https://", "http://"))]
        if not missing:
            return Named(tuple(known))
        with reached(self.ca_bundle) as servers:
            found = dict(zip(missing, each(lambda pin: _read(servers, pin.url), missing), strict=True))
            silent = tuple(sorted(servers.silent))
        for pin, modules in found.items():
            if modules is not None:
                self.memory.remember(_KIND, pin.sha256, "\n".join(modules))
        return Named(tuple(replace(pin, modules=found.get(pin, pin.modules)) for pin in known), silent)

    def _recall(self, pin: Pin) -> tuple[str, ...] | None:
        text = self.memory.remembered(_KIND, pin.sha256)
        return None if text is None else tuple(text.split())


def modules(files: Iterable[str]) -> tuple[str, ...]:
    """The modules that a wheel of these files brings, sorted: its packages and single modules, by whole names.

    What is within a package goes without saying.
    """
    found = set(filter(None, map(_module, files)))
    packages = {parts[:-1] for parts in found if parts[-1] == "__init__"}
    tops = {_top(parts, packages) for parts in found}
    counted = Counter(parts[:-1] for parts in tops - packages)
    crowded = {folder for folder, count in counted.items() if folder and count > _FOLDED}
    folded = {parts[:-1] if parts[:-1] in crowded and parts not in packages else parts for parts in tops}
    return tuple(sorted(map(".".join, folded)))


def _module(file: str) -> tuple[str, ...]:
    """A file as a module by the parts of its name; nothing for a file that is none."""
    folder, _, name = file.rpartition("/")
    parts = folder.split("/") if folder else []
    if parts and parts[0].endswith(".data"):
        # Files for a place of their own: those of libraries are beside the others once it is installed.
        if len(parts) == 1 or parts[1] not in ("purelib", "platlib"):
            return ()
        parts = parts[2:]
    stem = name.removesuffix(".py") if name.endswith(".py") else name.partition(".")[0] * name.endswith(".so")
    whole = (*parts, stem)
    return whole if all(map(str.isidentifier, whole)) else ()


def _top(parts: tuple[str, ...], packages: set[tuple[str, ...]]) -> tuple[str, ...]:
    """The outermost package that a module is in; the module itself where it is in none."""
    return next((parts[:depth] for depth in range(1, len(parts)) if parts[:depth] in packages), parts)


def _read(servers: Servers, url: str) -> tuple[str, ...] | None:
    try:
        with zipfile.ZipFile(_list(servers, url)) as archive:
            return modules(archive.namelist())
    except (httpx.HTTPError, httpx.InvalidURL, zipfile.BadZipFile, ValueError):
        return None


def _list(servers: Servers, url: str) -> io.BytesIO:
    """As much of a wheel's end as has the list of its files. Raises ValueError where a server gives too much."""
    end = _fetch(servers, url, _END)
    length = int.from_bytes(end[-10:-6], "little") + _RECORD
    return io.BytesIO(end if length <= len(end) else _fetch(servers, url, length))


def _fetch(servers: Servers, url: str, length: int) -> bytes:
    if length > _LARGEST:
        raise ValueError("it lists too many files")
    with servers.part(url, f"-{length}", openly=True) as answer:
        return b"".join(_bounded(answer.raise_for_status().iter_raw(), length))


def _bounded(chunks: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Chunks of at most so many bytes: a server that knows no ranges gives the whole wheel."""
    for chunk in chunks:
        length -= len(chunk)
        if length < 0:
            raise ValueError("it is more than was asked for")
        yield chunk
