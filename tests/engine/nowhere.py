"""Looking for a value in everything that a build leaves behind."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from tests.engine.building import manifest, unpacked


@dataclass
class Search:
    """Values, and the things that they must not be in; `places` are those that were looked at."""

    values: tuple[str, ...]
    places: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    def look(self, place: str, content: bytes | str) -> None:
        raw = content.encode() if isinstance(content, str) else content
        self.places.append(place)
        seen = unpacked(raw)
        if any(trace in seen for value in self.values for trace in _traces(value)):
            self.found.append(place)

    def look_below(self, folder: Path, *without: Path) -> None:
        """Every file in a folder, databases also row by row."""
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(other) for other in without):
                self.look(str(path), path.read_bytes())
                if path.suffix == ".sqlite":
                    with closing(sqlite3.connect(path)) as database:
                        self.look(f"{path} as SQL", "\n".join(database.iterdump()))

    def look_in_registry(self, prefix: str, *bases: str, auth: tuple[str, str] | None = None) -> None:
        """Every manifest, config and layer of every tag below a place in a registry, caches included.

        What images have of their `bases` was there before.
        """
        host, _, below = prefix.partition("/")
        seen = {digest for base in bases for _, digest in _contents(base, None)}
        with httpx.Client(base_url=f"http://{host}/v2/", auth=auth, timeout=60) as client:
            names = client.get("_catalog", params={"n": 100, "last": below}).raise_for_status().json()["repositories"]
            for name in (name for name in names if name.startswith(f"{below}/")):
                for tag in client.get(f"{name}/tags/list").raise_for_status().json()["tags"] or ():
                    for kind, digest in _contents(f"{host}/{name}:{tag}", auth):
                        if digest not in seen:
                            seen.add(digest)
                            content = client.get(f"{name}/{kind}/{digest}").raise_for_status().content
                            self.look(f"{name}:{tag} {digest}", content)
                    self.look(f"{name}:{tag}", repr(manifest(f"{host}/{name}:{tag}", auth)))


def _contents(reference: str, auth: tuple[str, str] | None) -> Iterator[tuple[str, str]]:
    """What is behind a reference, other manifests and blobs, each by its digest."""
    document = manifest(reference, auth)
    for item in document.get("manifests") or ():
        yield "manifests", item["digest"]
        yield from _contents(f"{reference.rpartition(':')[0].partition('@')[0]}@{item['digest']}", auth)
    for item in filter(None, (document.get("config"), *(document.get("layers") or ()))):
        yield "blobs", item["digest"]


def _traces(value: str) -> set[bytes]:
    """How a value may look: as it is, in an address, in hex, and within anything that is encoded as a whole."""
    raw = value.encode()
    encoded = {base64.b64encode(bytes(shift) + raw)[(shift and shift + 1) : -4].rstrip(b"=") for shift in range(3)}
    return {raw, quote(value, safe="").encode(), raw.hex().encode(), *encoded}
