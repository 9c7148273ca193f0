"""The logs of attempts: one file each, every line with the time at which the engine received it.

A line in a file is `2026-01-31T12:00:00.123456789Z text`. Writers append from threads; readers may follow.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from flytebuild.runtime.model import ActionKey

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z ?")
_STAMPS = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z ?", re.MULTILINE)
_TAIL_BYTES = 256 << 10
_STEP_BYTES = 128 << 10
"""How much is followed at a time: reading lines takes the time of everybody else."""

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; `at` is None where the engine gave no time."""

    at: datetime | None
    text: str


class LogBook:
    """The folder of all logs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: ActionKey, attempt: int) -> Path:
        """The file of one attempt; the names have been checked when they entered."""
        return self.root / key.run / key.name / f"{attempt}.log"

    def forget(self, key: ActionKey, attempt: int) -> None:
        """Remove what an earlier run of that name left, as well as that can be done."""
        with contextlib.suppress(OSError):
            self.path(key, attempt).unlink(missing_ok=True)

    async def text(self, key: ActionKey, attempt: int) -> AsyncIterator[bytes]:
        """The whole log without times, in pieces: it may be large."""
        path = self.path(key, attempt)
        offset, rest = 0, b""
        while content := await asyncio.to_thread(_read_from, path, offset):
            offset += len(content)
            whole, end, rest = (rest + content).rpartition(b"\n")
            yield _STAMPS.sub(b"", whole + end)
        if rest:
            yield _STAMPS.sub(b"", rest) + b"\n"

    def tail(self, key: ActionKey, attempt: int, count: int) -> tuple[list[Line], bool]:
        """The last lines, and whether there are more before them; reads the end of the file only."""
        try:
            with self.path(key, attempt).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(size - _TAIL_BYTES, 0))
                content = file.read()
        except FileNotFoundError:
            return [], False
        lines = _lines(content)
        if size > _TAIL_BYTES:
            lines = lines[1:]
        return parse(lines[-count:]), size > _TAIL_BYTES or len(lines) > count

    async def follow(self, key: ActionKey, attempt: int, is_over: Callable[[], bool]) -> AsyncIterator[list[Line]]:
        """Batches of whole lines as they are written, until the writer is done and all is read."""
        path = self.path(key, attempt)
        offset, rest = 0, b""
        while True:
            was_over = is_over()
            content = await asyncio.to_thread(_read_from, path, offset, _STEP_BYTES)
            offset += len(content)
            *whole, rest = (rest + content).split(b"\n")
            if was_over and not content:
                if rest:
                    yield parse([rest.decode("utf-8", "replace")])
                return
            if whole:
                yield parse(item.decode("utf-8", "replace") for item in whole)
            if not content:
                await asyncio.sleep(_POLL_SECONDS)


def _lines(content: bytes) -> list[str]:
    """Lines as the engine counts them: a carriage return or a form feed ends none."""
    lines = content.decode("utf-8", "replace").split("\n")
    return lines if lines[-1] else lines[:-1]


def parse(lines: Iterable[str]) -> list[Line]:
    """Separate times from texts."""
    return [_parse_line(line) for line in lines]


def _parse_line(line: str) -> Line:
    found = _STAMP.match(line)
    if not found:
        return Line(None, line)
    at = datetime.fromisoformat(found[1]).replace(
        microsecond=int((found[2] or "0")[:6].ljust(6, "0")), tzinfo=timezone.utc
    )
    return Line(at, line[found.end() :])


def _read_from(path: Path, offset: int, size: int = 1 << 20) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        return b""
