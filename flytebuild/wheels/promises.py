"""What an index promises of the metadata beside its wheels: a hash, on the page of the project.

Pages are HTML (PEP 503) or JSON (PEP 691), where the promise is `core-metadata`, or by its older name
`dist-info-metadata` (PEP 658, PEP 714).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from msgspec import Struct

from flytebuild.spec.layers import Pin
from flytebuild.wheels.servers import Servers, is_passing

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_NAMES = ("core-metadata", "dist-info-metadata")


class _File(Struct, frozen=True):
    """One link of a page; hashes that are not told are empty."""

    name: str
    sha256: str
    metadata: str


def promised(servers: Servers, pin: Pin, indexes: Sequence[str]) -> str:
    """The SHA-256 that the first of these indexes which has a wheel gives of its metadata, or nothing.

    Folders among them promise nothing. Raises httpx.HTTPError where an index does not answer, ValueError for a page
    that is none.
    """
    for index in indexes:
        if not index.startswith(("https://", "http://")):
            continue
        answer = servers.get(_page(index, pin.name), accept=_ACCEPT)
        if is_passing(answer):
            answer.raise_for_status()
        for file in _files(answer) if answer.is_success else ():
            if file.name == pin.filename and file.sha256 in ("", pin.sha256):
                return file.metadata
    return ""


def _page(index: str, name: str) -> str:
    """The page of a project, without credentials."""
    parts = urlsplit(index)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], f"{parts.path.rstrip('/')}/{name}/", "", ""))


def _files(answer: httpx.Response) -> Sequence[_File]:
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() == _JSON:
        try:
            return [_in_json(file) for file in json.loads(answer.content)["files"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("its index has a page of a form that is not known") from error
    page = _Page()
    page.feed(answer.text)
    return page.files


def _in_json(file: Mapping[str, Any]) -> _File:
    told = next((file[name] for name in _NAMES if name in file), None)
    metadata = told.get("sha256", "") if isinstance(told, dict) else ""
    return _File(file["filename"], file["hashes"].get("sha256", "").lower(), metadata.lower())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[_File] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            place = urlsplit(given["href"] or "")
            told = next((given[f"data-{name}"] for name in _NAMES if f"data-{name}" in given), None)
            name = unquote(place.path.rpartition("/")[2])
            self.files.append(_File(name, _sha256(place.fragment), _sha256(told or "")))


def _sha256(text: str) -> str:
    """The hash in `sha256=…`, or nothing."""
    kind, _, value = text.partition("=")
    return value.lower() if kind == "sha256" else ""
