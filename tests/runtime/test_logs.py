from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from pathlib import Path

from flytebuild.runtime.logs import Line, LogBook, parse
from flytebuild.runtime.model import ActionKey

KEY = ActionKey("r1", "a0")
STAMP = "2026-01-31T12:00:00.123456789Z"


def write(book: LogBook, content: bytes) -> None:
    path = book.path(KEY, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(content)


def text(book: LogBook) -> bytes:
    async def main() -> bytes:
        return b"".join([piece async for piece in book.text(KEY, 1)])

    return asyncio.run(main())


def test_lines_and_their_times() -> None:
    at = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc)
    lines = parse([f"{STAMP} text", f"{STAMP} ", "no time", "2026-01-31T12:00:00Z whole second"])
    assert lines[:3] == [Line(at, "text"), Line(at, ""), Line(None, "no time")]
    assert lines[3] == Line(at.replace(microsecond=0), "whole second")


def test_text_and_tail(tmp_path: Path) -> None:
    book = LogBook(tmp_path)
    assert (text(book), book.tail(KEY, 1, 2)) == (b"", ([], False))
    write(book, f"{STAMP} one\n{STAMP} tw\xff".encode("latin-1") + f"\n{STAMP} three\n".encode())
    assert text(book) == b"one\ntw\xff\nthree\n"
    lines, has_more = book.tail(KEY, 1, 2)
    assert ([line.text for line in lines], has_more) == (["tw\ufffd", "three"], True)


def test_the_text_of_a_large_log_comes_in_pieces(tmp_path: Path) -> None:
    book = LogBook(tmp_path)
    line = "x" * 300
    write(book, f"{STAMP} {line}\n".encode() * 10_000 + b"no time, no end")

    async def main() -> list[bytes]:
        return [piece async for piece in book.text(KEY, 1)]

    pieces = asyncio.run(main())
    assert b"".join(pieces) == f"{line}\n".encode() * 10_000 + b"no time, no end\n"
    assert max(map(len, pieces)) <= 1 << 20


def test_following_ends_after_the_last_line(tmp_path: Path) -> None:
    book = LogBook(tmp_path)
    over = asyncio.Event()

    async def main() -> list[str]:
        found: list[str] = []
        async for batch in book.follow(KEY, 1, over.is_set):
            found += [line.text for line in batch]
            if found == ["one"]:
                write(book, b"two\nthr")
                over.set()
        return found

    write(book, b"one\n")
    assert asyncio.run(main()) == ["one", "two", "thr"]


def test_a_progress_bar_is_one_line_for_every_reader(tmp_path: Path) -> None:
    book = LogBook(tmp_path)
    bar = "10%\r20%\x0c30%\u2028done"
    write(book, f"{STAMP} {bar}\n{STAMP} last\n".encode())
    assert text(book) == f"{bar}\nlast\n".encode()
    assert [line.text for line in book.tail(KEY, 1, 10)[0]] == [bar, "last"]
