"""The one canonical encoding of specs, and the digests taken of it.

A spec is encoded as RFC 8785 JSON and hashed with BLAKE3 in its key-derivation mode, one context string per kind of
object, so that equal bytes of two kinds never share a digest. Floats and nulls are refused: a default is left out,
which lets a later version add a field without moving the digests of those who do not use it. Folders and links, whose
names may be any bytes, get their bytes from `flytebuild.spec.tree` and their own contexts here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal, TypeAlias

import rfc8785
from blake3 import blake3

Domain = Literal["base", "layer", "dir", "link", "config", "image", "index", "wheels", "cache"]
Value: TypeAlias = "str | int | bool | Sequence[Value] | Mapping[str, Value]"
Document: TypeAlias = Mapping[str, Value]

SCHEMA = 1
"""Raised when the meaning of an existing field changes; every digest moves with it."""


_SURROGATE = re.compile("[\ud800-\udfff]")
_LARGEST = 2**53 - 1
_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True).encode


def encode(document: Document) -> bytes:
    """The canonical bytes of a document (RFC 8785). Raises ValueError for what has no single encoding."""
    if is_plain(document):
        text = _to_json(document)
        # Where all is ASCII, sorted keys and no blanks are what RFC 8785 asks for; `json` is many times faster.
        if text.isascii():
            return text.encode()
    _reject_ambiguous(document)
    return rfc8785.dumps(document)


def is_plain(value: object) -> bool:
    """Whether a value is made of nothing but what documents hold, texts without lone surrogates."""
    if isinstance(value, str):
        return value.isascii() or not _SURROGATE.search(value)
    if isinstance(value, dict):
        return _are_plain(value, str) and _are_plain(value.values())
    if isinstance(value, (list, tuple)):
        return _are_plain(value)
    return isinstance(value, int) and -_LARGEST <= value <= _LARGEST


def _are_plain(values: Iterable[object], kind: type = object) -> bool:
    for value in values:
        # Nearly all are: a call for each would take most of the time that an encoding takes.
        is_ascii = type(value) is str and value.isascii()
        if not is_ascii and not (isinstance(value, kind) and is_plain(value)):
            return False
    return True


def extend(encoded: bytes, name: str, value: bytes) -> bytes:
    """The canonical bytes of a document with one field more, from those of the rest and those of the field's value.

    The name must come after those of all fields that are there, of which there is one at least, and be a plain word.
    What comes after a field (`split`) can be extended alike.
    """
    return b"".join((encoded[:-1], b',"', name.encode(), b'":', value, b"}"))


def split(document: Document, name: str) -> tuple[bytes, bytes]:
    """The canonical bytes of a document before and after the value of one of its fields, which is a text.

    No field before that one may hold a document. Any text that needs no escapes may be put between the two.
    """
    before, quoted, after = encode({**document, name: ""}).partition(f'"{name}":"'.encode())
    return before + quoted, after


def digest(domain: Domain, document: Document) -> str:
    """64 hex digits: BLAKE3 of the canonical bytes, in the domain's own context."""
    return digest_bytes(domain, encode(document))


def digest_bytes(domain: Domain, content: bytes) -> str:
    """64 hex digits of bytes that have one encoding already, in the domain's own context."""
    hasher = _hasher(domain).copy()
    hasher.update(content)
    return hasher.hexdigest()


def context(domain: Domain) -> str:
    """The text that BLAKE3 derives a domain's key from."""
    return f"flytebuild 2026-11-22 {domain} v1"


@cache
def _hasher(domain: Domain) -> blake3:
    return blake3(derive_key_context=context(domain))


def _reject_ambiguous(value: object) -> None:
    if value is None or isinstance(value, float):
        raise ValueError(f"{value!r} has no place in a canonical document")
    if isinstance(value, Mapping):
        for item in value.values():
            _reject_ambiguous(item)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for item in value:
            _reject_ambiguous(item)
