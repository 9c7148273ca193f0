"""A package index on a loopback port, by the simple repository API (PEP 503), and the tiny packages that it has."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from tests.engine import packages
from tests.serving import Quiet, answering

PASSWORD = "s3cr3t-of-the-index"
SIGNATURE = f"signature={PASSWORD}"


@dataclass
class Index:
    """Files by project and name; `yanked` ones are only taken where they are named, `hidden` tells no metadata.

    Pages promise metadata by its hash; that of `forged` wheels is another one. `requests` has every path that was asked
    for. Without `has_suffixes` whoever wants a file's last bytes gets all of it. What is below `/private` wants the
    password; the pages below `/signed` tell it to everybody, as the query that the files there want. `/busy` and
    `/limited` have no time, `/login` is a page for all.
    """

    address: str
    folder: Path
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    yanked: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    forged: set[str] = field(default_factory=set)
    has_ranges: bool = True
    has_suffixes: bool = True
    has_sizes: bool = True
    is_json: bool = False
    requests: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}/simple"

    @property
    def private(self) -> str:
        """The same packages, for those who have the password; a shell puts it there."""
        return f"http://reader:${{TOKEN}}@{self.address}/private"

    @property
    def signed(self) -> str:
        """The same packages, whose URLs have a query."""
        return f"http://{self.address}/signed"

    def add(self, name: str, version: str, *requires: str, is_yanked: bool = False, is_hidden: bool = False) -> str:
        """Put a wheel there; returns its file's name."""
        wheel = packages.wheel(self.folder, name.replace("-", "_"), version, *requires)
        self.files.setdefault(name, {})[wheel.name] = wheel.read_bytes()
        self.yanked |= {wheel.name} if is_yanked else set()
        self.hidden |= {wheel.name} if is_hidden else set()
        return wheel.name

    def answer(self, path: str) -> bytes | None:
        """What is at a path."""
        _, _, name, *rest = [*path.split("/"), ""]
        files = self.files.get(name, {})
        file = rest[0] if rest else ""
        if file.removesuffix(".metadata") in self.hidden and file.endswith(".metadata"):
            return None
        if file.endswith(".metadata"):
            wheel = file.removesuffix(".metadata")
            more = b"Requires-Dist: evil\n" if wheel in self.forged else b""
            return _metadata(files[wheel]) + more if wheel in files else None
        query = f"?{SIGNATURE}" if path.startswith("/signed") else ""
        return files.get(file) if file else _page(self, files, query) if files else None


def _page(index: Index, files: dict[str, bytes], query: str) -> bytes:
    links, listed = "", []
    for name, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        is_told = name not in index.hidden and not query and name.endswith(".whl")
        promise = hashlib.sha256(_metadata(content)).hexdigest() if is_told else ""
        more = ' data-yanked=""' if name in index.yanked else ""
        more += f' data-core-metadata="sha256={promise}"' if is_told else ""
        links += f'<a href="{name}{query}#sha256={sha256}"{more}>{name}</a>\n'
        told = {"core-metadata": {"sha256": promise} if is_told else False, "yanked": name in index.yanked}
        listed.append({"filename": name, "url": f"{name}{query}", "hashes": {"sha256": sha256}, **told})
    if index.is_json:
        return json.dumps({"meta": {"api-version": "1.1"}, "name": "any", "files": listed}).encode()
    return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


def _metadata(wheel: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("METADATA")))


@contextmanager
def served(folder: Path, address: str = "127.0.0.1") -> Iterator[Index]:
    """An index that has nothing yet, at an address of this machine."""
    found: list[Index] = []

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index, (_, _, path, query, _) = found[0], urlsplit(self.path)
            index.requests.append(path)
            wanted = "Basic " + base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
            if path.startswith("/private") and self.headers.get("Authorization") != wanted:
                self._send(401, b"", {"WWW-Authenticate": "Basic"})
                return
            if path.startswith("/signed") and not path.endswith("/") and query != SIGNATURE:
                self._send(403, b"", {})
                return
            if path.startswith(("/busy", "/limited")):
                self._send(503 if path.startswith("/busy") else 429, b"", {})
                return
            if path.startswith("/login"):
                self._send(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"})
                return
            content = index.answer(path)
            given = self.headers.get("Range", "")
            if content is None:
                self._send(404, b"", {})
            elif index.has_ranges and given and (index.has_suffixes or not given.startswith("bytes=-")):
                start, _, end = given.removeprefix("bytes=").partition("-")
                part = content[int(start) : int(end) + 1] if start else content[-int(end) :]
                first = int(start) if start else len(content) - len(part)
                size = len(content) if index.has_sizes else "*"
                about = f"bytes {first}-{first + len(part) - 1}/{size}"
                self._send(206, part, {"Content-Range": about})
            else:
                page = "application/vnd.pypi.simple.v1+json" if index.is_json else "text/html"
                kind = page if path.endswith("/") else "application/octet-stream"
                self._send(
                    200, content, {"Content-Type": kind, "Accept-Ranges": "bytes" if index.has_ranges else "none"}
                )

        do_HEAD = do_GET

        def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    with answering(Handler, address) as host:
        found.append(Index(host, folder))
        yield found[0]
