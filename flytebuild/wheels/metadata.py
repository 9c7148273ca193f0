"""What wheels on an index say of themselves: their METADATA, with as little of the wheel as the index lets us have, and
their sizes where an index does not tell them."""

from __future__ import annotations

import hashlib
import io
import ssl
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import httpx
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from flytebuild.errors import UnavailableError
from flytebuild.spec.layers import Pin

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TIMEOUT = httpx.Timeout(60.0, connect=20.0)
AT_ONCE = 8
"""Requests that indexes are asked at a time."""

_CHUNK = 64 * 1024
_BUSY = (408, 425, 429)
"""Statuses of a server that gives another answer at another time."""

_KIND = "metadata 2"
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
        """The METADATA of wheels, by name; `indexes` are URLs whose credentials count for what is on their hosts.

        `signed` are URLs to take instead, by hash. Raises UnavailableError for a wheel that cannot be read.
        """
        found = {pin.name: text for pin in pins if (text := self._recall(pin))}
        missing = [pin for pin in pins if pin.name not in found]
        if missing:
            with connected(self.ca_bundle) as client, ThreadPoolExecutor(AT_ONCE, "flytebuild-metadata") as pool:
                known = _credentials(indexes)
                texts = pool.map(lambda pin: _read(client, _with_url(pin, signed), known), missing)
                for pin, text in zip(missing, texts, strict=True):
                    found[pin.name] = text
                    self.memory.remember(_KIND, pin.sha256, f"{_digest(text)}\n{text}")
        return found

    def _recall(self, pin: Pin) -> str:
        """What was read before, if it is still what it was; else nothing."""
        digest, _, text = (self.memory.remembered(_KIND, pin.sha256) or "").partition("\n")
        return text if digest == _digest(text) else ""

    def closed(self, pins: Sequence[Pin]) -> str:
        """The host that does not give one of these wheels to whoever asks, or nothing; the first byte is asked for.

        Raises UnavailableError where a host does not answer.
        """
        online = [pin for pin in pins if pin.url.startswith(("https://", "http://"))]
        if not online:
            return ""
        with connected(self.ca_bundle) as client, ThreadPoolExecutor(AT_ONCE, "flytebuild-metadata") as pool:
            answers = list(pool.map(lambda pin: _is_open(client, pin), online))
        refused = (pin for pin, is_open in zip(online, answers, strict=True) if not is_open)
        return next((urlsplit(pin.url).hostname or "" for pin in refused), "")

    def sized(
        self, pins: Sequence[Pin], indexes: Sequence[str], signed: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[Pin, ...]:
        """The same wheels with their sizes, as far as their servers say them; `indexes` and `signed` are as for `read`.

        PyTorch's index tells none. A wheel of which nobody says how large it is can be locked all the same.
        """
        if all(pin.size is not None for pin in pins):
            return tuple(pins)
        known = _credentials(indexes)
        with connected(self.ca_bundle) as client, ThreadPoolExecutor(AT_ONCE, "flytebuild-metadata") as pool:
            sizes = pool.map(lambda pin: _size(client, _with_url(pin, signed), known), pins)
            return tuple(replace(pin, size=size) for pin, size in zip(pins, sizes, strict=True))


@contextmanager
def connected(ca_bundle: Path | None) -> Iterator[httpx.Client]:
    """What asks indexes, by the host's certificates or those of a bundle."""
    trusted = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, verify=trusted) as client:
        yield client


def _credentials(indexes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """User and password by host and port."""
    found = {}
    for parts in map(urlsplit, indexes):
        if parts.username or parts.password:
            host = parts.netloc.rpartition("@")[2]
            found[host] = (unquote(parts.username or ""), unquote(parts.password or ""))
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _with_url(pin: Pin, signed: Mapping[str, str]) -> Pin:
    """The wheel where it is at this moment."""
    return replace(pin, url=signed[pin.sha256]) if pin.sha256 in signed else pin


def _is_open(client: httpx.Client, pin: Pin) -> bool:
    """Whether a wheel is there for everybody, and no page to log in at."""
    try:
        with client.stream("GET", pin.url, headers={"Range": "bytes=0-0"}) as answer:
            if answer.is_server_error or answer.status_code in _BUSY:
                answer.raise_for_status()
            return answer.is_success and not answer.headers.get("Content-Type", "").startswith("text/html")
    except httpx.HTTPError as error:
        raise _unavailable(pin, error) from error


def _unavailable(pin: Pin, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"What `{pin.filename}` needs cannot be read from `{_host(pin)}` ({_reason(error)})",
        hint="see whether the index can be reached, and run `flytebuild lock` again",
    )


def _host(pin: Pin) -> str:
    """Where a wheel is, without credentials."""
    parts = urlsplit(pin.url)
    return parts.netloc.rpartition("@")[2] or pin.url


def _read(client: httpx.Client, pin: Pin, known: Mapping[str, tuple[str, str]]) -> str:
    parts = urlsplit(pin.url)
    try:
        if parts.scheme == "file":
            text = _inside(_whole(Path(unquote(parts.path)).read_bytes(), pin))
        else:
            text = _fetch(client, pin, _auth(pin, known))
    except (httpx.HTTPError, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _unavailable(pin, error) from error
    header = HeaderParser().parsestr(text)
    if (canonicalize_name(header["Name"] or ""), header["Version"]) != (pin.name, pin.version):
        raise UnavailableError(f"`{pin.filename}` says that it is `{header['Name']}` {header['Version']}")
    return text


def _size(client: httpx.Client, pin: Pin, known: Mapping[str, tuple[str, str]]) -> int | None:
    if pin.size is not None or urlsplit(pin.url).scheme not in ("http", "https"):
        return pin.size
    try:
        headers = {"Accept-Encoding": "identity"}
        answer = client.request("HEAD", pin.url, auth=_auth(pin, known), headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    length = answer.headers.get("content-length", "")
    return int(length) if answer.is_success and length.isdecimal() else None


def _auth(pin: Pin, known: Mapping[str, tuple[str, str]]) -> httpx.Auth | None:
    place = urlsplit(pin.url).netloc
    return httpx.BasicAuth(*known[place]) if place in known else None


def _fetch(client: httpx.Client, pin: Pin, auth: httpx.Auth | None) -> str:
    """The metadata beside the wheel (PEP 658) where an index has it, else from the wheel's end."""
    if "?" not in pin.url:
        beside = client.get(f"{pin.url}.metadata", auth=auth)
        if beside.is_success:
            return beside.text
    head = client.get(pin.url, auth=auth, headers={"Range": "bytes=0-0"}) if pin.size else None
    if pin.size and head is not None and head.status_code == httpx.codes.PARTIAL_CONTENT:
        return _inside(io.BufferedReader(_Remote(client, pin.url, pin.size, auth), _CHUNK))
    return _inside(_whole(client.get(pin.url, auth=auth).raise_for_status().content, pin))


def _whole(content: bytes, pin: Pin) -> io.BytesIO:
    if hashlib.sha256(content).hexdigest() != pin.sha256:
        raise ValueError("it is not the file that the index named")
    return io.BytesIO(content)


def _inside(wheel: io.BytesIO | io.BufferedReader) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(
            name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
        )
        return archive.read(name).decode("utf-8", "replace")


class _Remote(io.RawIOBase):
    """A file on a server, of which only what is read is fetched."""

    def __init__(self, client: httpx.Client, url: str, size: int, auth: httpx.Auth | None) -> None:
        self._client, self._url, self._size, self._auth = client, url, size, auth
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Buffer) -> int:
        space = memoryview(buffer)
        end = min(self._place + len(space), self._size)
        if end <= self._place:
            return 0
        headers = {"Range": f"bytes={self._place}-{end - 1}"}
        content = self._client.get(self._url, auth=self._auth, headers=headers).raise_for_status().content
        space[: len(content)] = content
        self._place += len(content)
        return len(content)


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
