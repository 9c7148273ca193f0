"""`flytebuild.lock`: a lock as TOML, in an order that moves as little as possible from one version to the next.

A wheel is described once, however many layers have it; layers name wheels by their files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli
import tomli_w

from flytebuild.errors import LockChangedError, OutputError, UsageError
from flytebuild.spec.layers import Pin
from flytebuild.wheels.lock import Lock, LockedImage, LockedLayer, UnlockedLayer, order
from flytebuild.whole_file import write_whole

VERSION = 1
"""Of the file's form; a file of another one is not read."""

_HEAD = "# Written by `flytebuild lock`, which also brings it up to date; not meant to be edited.\n\n"
_SHORT = 12

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
"""The lines that version control puts between the sides of a conflict."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def read(file: Path) -> Lock | None:
    """The lock in a file; None where there is no file. Raises UsageError for a file that holds none."""
    try:
        return decode(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"`{file}` cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`{file}` is not a lock: it is no text", hint=_hint(str(file))) from error


def exchange(file: Path, before: Lock | None, after: Lock) -> None:
    """Put a lock in the place of the one that it was made from. Raises LockChangedError where that is not there now."""
    if read(file) != before:
        raise LockChangedError(str(file))
    write(file, after)


def write(file: Path, lock: Lock) -> None:
    """Put a lock into a file, whole or not at all. Raises OutputError where it cannot be written."""
    try:
        write_whole(file, encode(lock))
    except OSError as error:
        raise OutputError(f"The lock cannot be written to `{file}`: {error.strerror}") from error


def encode(lock: Lock) -> str:
    """The file's text."""
    names = _names(pin for layer in lock.layers for pin in layer.pins)
    document = {
        "version": VERSION,
        "uv": lock.uv,
        "image": [
            {
                "reference": image.reference,
                "platform": image.platform,
                "digest": image.digest,
                **({} if image.is_ready is None else {"ready": image.is_ready}),
            }
            for image in sorted(lock.images, key=order)
        ],
        "layer": [
            {
                **_head(layer),
                **({"where": list(layer.where)} if layer.where else {}),
                "python": layer.python,
                **({"replaces": list(layer.replaces)} if layer.replaces else {}),
                **({"obstacle": layer.obstacle} if layer.obstacle else {}),
                "wheels": [names[pin] for pin in layer.pins],
            }
            for layer in sorted(lock.layers, key=order)
        ],
        "unlocked": [{**_head(layer), "reason": layer.reason} for layer in sorted(lock.unlocked, key=order)],
        "wheel": [_wheel(pin, name) for pin, name in sorted(names.items(), key=lambda item: item[1])],
    }
    return _HEAD + tomli_w.dumps({key: value for key, value in document.items() if value != []})


def differs(before: Lock | None, after: Lock) -> bool:
    """Whether a lock has another text than the one before, be it only in what is noted of its wheels."""
    return before is None or encode(before) != encode(after)


def decode(text: str, source: str) -> Lock:
    """The inverse of `encode`. Raises UsageError; `source` names the file."""
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise UsageError(
            f"`{source}` has the marks of a conflict, from line {line} on",
            hint="take one side of it (`git checkout --ours`, or `--theirs`) and run `flytebuild lock`, which adds "
            "what that one lacks",
        )
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise UsageError(f"`{source}` is not a lock: {error}", hint=_hint(source)) from error
    if "version" not in document:
        raise UsageError(f"`{source}` is not a lock: it has no `version`", hint=_hint(source))
    if document["version"] != VERSION:
        raise UsageError(
            f"`{source}` is a lock of version {document['version']}, and this flytebuild reads {VERSION}",
            hint="use the flytebuild that wrote it, or " + _anew(source),
        )
    try:
        return _lock(document)
    except KeyError as error:
        raise UsageError(f"`{source}` is damaged: `{error.args[0]}` is missing", hint=_hint(source)) from error
    except ValueError as error:
        raise UsageError(f"`{source}` is damaged: {error}", hint=_hint(source)) from error
    except (TypeError, AttributeError) as error:
        raise UsageError(f"`{source}` is damaged", hint=_hint(source)) from error


def _hint(source: str) -> str:
    return f"take it from version control as it was; where it is in none, {_anew(source)}"


def _anew(source: str) -> str:
    return f"remove `{source}` and run `flytebuild lock`, which decides all versions anew"


def _lock(document: Mapping[str, Any]) -> Lock:
    wheels = {
        item.get("id", item["filename"]): Pin(
            item["name"],
            item["version"],
            item["filename"],
            _sha256(item),
            item.get("url", ""),
            item.get("size"),
            tuple(map(str, item["modules"])) if "modules" in item else None,
        )
        for item in document.get("wheel", ())
    }
    return Lock(
        str(document["uv"]),
        tuple(
            LockedImage(item["reference"], item["platform"], item["digest"], _ready(item))
            for item in document.get("image", ())
        ),
        tuple(
            LockedLayer(
                *_tail(item),
                tuple(wheels[name] for name in item["wheels"]),
                tuple(item.get("where", ())),
                item.get("python", ""),
                tuple(item.get("replaces", ())),
                item.get("obstacle", ""),
            )
            for item in document.get("layer", ())
        ),
        tuple(UnlockedLayer(*_tail(item), item["reason"]) for item in document.get("unlocked", ())),
    )


def _ready(image: Mapping[str, Any]) -> bool | None:
    ready = image.get("ready")
    if not isinstance(ready, bool | None):
        raise ValueError(f"the `ready` of `{image['reference']}` is neither true nor false")
    return ready


def _sha256(wheel: Mapping[str, Any]) -> str:
    if not _SHA256.fullmatch(wheel["sha256"]):
        raise ValueError(f"the `sha256` of `{wheel['filename']}` has no 64 hex digits")
    return str(wheel["sha256"])


def _head(layer: LockedLayer | UnlockedLayer) -> dict[str, Any]:
    return {
        "asked": layer.asked,
        "environments": list(layer.environments),
        "platform": layer.platform,
        "fingerprint": layer.fingerprint,
    }


def _tail(item: Mapping[str, Any]) -> tuple[str, str, str, tuple[str, ...]]:
    return item["asked"], item["platform"], item["fingerprint"], tuple(item["environments"])


def _names(pins: Iterable[Pin]) -> dict[Pin, str]:
    """What each wheel is called: by its file, and also by its hash where two indexes have another one of that name."""
    unique = list(dict.fromkeys(pins))
    files = [pin.filename for pin in unique]
    return {
        pin: pin.filename if files.count(pin.filename) == 1 else f"{pin.filename}#{pin.sha256[:_SHORT]}"
        for pin in unique
    }


def _wheel(pin: Pin, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": name} if name != pin.filename else {}
    found |= {"name": pin.name, "version": pin.version, "filename": pin.filename, "sha256": pin.sha256}
    found |= {"url": pin.url} if pin.url else {}
    found |= {"size": pin.size} if pin.size is not None else {}
    return found | ({"modules": list(pin.modules)} if pin.modules is not None else {})
