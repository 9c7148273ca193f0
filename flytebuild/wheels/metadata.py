"""The METADATA of wheels on an index, with as little of the wheels as the index lets us have."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx
from msgspec import Struct
from packaging.utils import canonicalize_name

from flytebuild.errors import UnavailableError, UntrueError
from flytebuild.spec.layers import Pin
from flytebuild.wheels.promises import promised
from flytebuild.wheels.remote_file import fetch
from flytebuild.wheels.servers import Servers, each, host, reached, unavailable

_CHUNK = 64 * 1024

_KIND = "metadata 3"
"""Of what is remembered: the text's SHA-256 in a line of its own, and the text."""


class Memory(Protocol):
    """What was read before, by kind and key; `flytebuild.state.State` is one."""

    def remembered(self, kind: str, key: str) -> str | None: ...

    def remember(self, kind: str, key: str, text: str) -> None: ...


class MetadataReader(Struct, frozen=True):
    """Reads metadata by HTTP, or from files; what was read is remembered by the wheel's hash, with its own."""

    memory: Memory
    ca_bundle: Path | None = None

    def read(
        self, pins: Sequence[Pin], indexes: Sequence[str], signed: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, str]:
        """The METADATA of wheels, by name; `indexes` are those that they may be on, with their credentials.

        `signed` are URLs to take instead, by hash. Raises UnavailableError for a wheel that cannot be read, UntrueError
        where it is not what its index promises.
        """
        found = {pin.name: text for pin in pins if (text := self._recall(pin))}
        missing = [pin for pin in pins if pin.name not in found]
        if missing:
            with reached(self.ca_bundle, indexes) as servers:
                texts = each(lambda pin: _read(servers, pin, signed.get(pin.sha256, pin.url), indexes), missing)
            for pin, text in zip(missing, texts, strict=True):
                found[pin.name] = text
                self.memory.remember(_KIND, pin.sha256, f"{_digest(text.encode())}\n{text}")
        return found

    def _recall(self, pin: Pin) -> str:
        """What was read before, if it is still what it was; else nothing."""
        digest, _, text = (self.memory.remembered(_KIND, pin.sha256) or "").partition("\n")
        return text if digest == _digest(text.encode()) else ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(servers: Servers, pin: Pin, url: str, indexes: Sequence[str]) -> str:
    parts = urlsplit(url)
    try:
        if parts.scheme == "file":
            text = _inside(_whole(Path(unquote(parts.path)).read_bytes(), pin))
        else:
            text = _beside(servers, pin, url, indexes) or _within(servers, pin, url)
    except (httpx.HTTPError, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise unavailable(pin, error) from error
    header = HeaderParser().parsestr(text)
    if (canonicalize_name(header["Name"] or ""), header["Version"]) != (pin.name, pin.version):
        raise UnavailableError(f"`{pin.filename}` says that it is `{header['Name']}` {header['Version']}")
    return text


def _beside(servers: Servers, pin: Pin, url: str, indexes: Sequence[str]) -> str:
    """The metadata beside the wheel (PEP 658), as the index promises it; nothing where there is none."""
    answer = servers.get(f"{url}.metadata") if "?" not in url else None
    if answer is None or not answer.is_success:
        return ""
    expected = promised(servers, pin, indexes)
    if expected and _digest(answer.content) != expected:
        raise UntrueError(
            f"The metadata of `{pin.filename}` on `{host(pin)}` is not what its index promises: its SHA-256 is "
            f"{_digest(answer.content)}, and not {expected}",
            hint="find out from whoever runs the index, or a mirror of it, who has changed it; nothing of it is locked",
        )
    return answer.content.decode("utf-8", "replace")


def _within(servers: Servers, pin: Pin, url: str) -> str:
    """The metadata in the wheel itself, of which no more is fetched than that takes."""
    found = fetch(servers, url)
    return _inside(_whole(found, pin) if isinstance(found, bytes) else io.BufferedReader(found, _CHUNK))


def _whole(content: bytes, pin: Pin) -> io.BytesIO:
    if _digest(content) != pin.sha256:
        raise ValueError("it is not the file that the index named")
    return io.BytesIO(content)


def _inside(wheel: io.BytesIO | io.BufferedReader) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(
            name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
        )
        return archive.read(name).decode("utf-8", "replace")
