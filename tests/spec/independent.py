"""`docs/spec.md` implemented once more, from that page alone; it shares no code with the package."""

import json
import struct
from typing import Any

from blake3 import blake3


def canonical(value: Any) -> bytes:
    """RFC 8785 for what documents hold: keys are sorted by their UTF-16 code units, and nothing is escaped in vain."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return b"{" + b",".join(canonical(key) + b":" + canonical(value[key]) for key in keys) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, (str, bool, int)):
        return json.dumps(value, ensure_ascii=False).encode()
    raise TypeError(type(value))


def hashed(domain: str, content: bytes) -> str:
    return blake3(content, derive_key_context=f"flytebuild 2026-11-22 {domain} v1").hexdigest()


def folder(entries: dict[str, Any]) -> str:
    """`entries` by name: `{"file": text}`, `{"executable": text}`, `{"link": target}` or `{"folder": entries}`."""
    found = []
    for name, entry in entries.items():
        ((kind, content),) = entry.items()
        if kind == "folder":
            digest = folder(content)
        elif kind == "link":
            digest = hashed("link", content.encode())
        else:
            digest = blake3(content.encode()).hexdigest()
        letter = {"file": b"f", "executable": b"x", "link": b"l", "folder": b"d"}[kind]
        raw = name.encode()
        found.append((raw, letter + struct.pack(">I", len(raw)) + raw + bytes.fromhex(digest)))
    return hashed("dir", struct.pack(">Q", len(found)) + b"".join(entry for _, entry in sorted(found)))


def image(vector: dict[str, Any]) -> dict[str, Any]:
    """All digests of one vector: `base`, `layers` (kind, emitter, spec, step), `config` and `platform`."""
    parent = base = hashed("base", canonical({**vector["base"], "platform": vector["platform"], "schema": 1}))
    layers = []
    for layer in vector["layers"]:
        parent = hashed("layer", canonical({**layer, "parent": parent, "schema": 1}))
        layers.append(parent)
    config = hashed("config", canonical({**vector["config"], "schema": 1}))
    document = {"config": config, "layers": parent, "platform": vector["platform"], "schema": 1}
    return {"base": base, "layers": layers, "config": config, "image": hashed("image", canonical(document))}


def index(images: dict[str, str]) -> str:
    return hashed("index", canonical({"platforms": images, "schema": 1}))
