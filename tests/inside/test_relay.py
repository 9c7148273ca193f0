"""Many connections through one stream: each as good as one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from flytebuild.inside import relay, text_of
from flytebuild.inside.relay import DATA, OPEN, WINDOW, Stream, Tunnel

SECONDS = 30.0

_opened: list[Stream] = []


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that runs in an event loop of its own; what it has opened is closed at the end."""

    @functools.wraps(test)
    def run(*arguments: object, **named: object) -> None:
        async def main() -> None:
            try:
                await test(*arguments, **named)
            finally:
                while _opened:
                    _opened.pop()[1].close()

        asyncio.run(main())

    return run


@dataclass
class Ends:
    """Both ends of a tunnel, and where its connections come out."""

    near: Tunnel
    far: Tunnel
    joined: asyncio.Queue[Stream]
    carried: list[asyncio.Task[None]] = field(default_factory=list)

    async def connect(self) -> tuple[Stream, Stream]:
        """Both ends of a connection through the tunnel."""
        one, other = await _pair()
        self.carried.append(asyncio.create_task(self.near.carry(*other)))
        return one, await asyncio.wait_for(self.joined.get(), SECONDS)


async def _pair() -> tuple[Stream, Stream]:
    one, other = [await asyncio.open_connection(sock=end) for end in socket.socketpair()]
    _opened.extend((one, other))
    return one, other


@contextlib.asynccontextmanager
async def tunnel(most: int | None = None, refusal: bytes = b"") -> AsyncIterator[Ends]:
    joined: asyncio.Queue[Stream] = asyncio.Queue()

    async def answer() -> Stream:
        ours, theirs = await _pair()
        joined.put_nowait(theirs)
        return ours

    one, other = await _pair()
    near, far = Tunnel(one), Tunnel(other, answer, most, refusal)
    serving = [asyncio.create_task(end.serve()) for end in (near, far)]
    ends = Ends(near, far, joined)
    try:
        yield ends
    finally:
        for _, writer in (one, other):
            writer.close()
        await asyncio.wait_for(asyncio.gather(*serving, *ends.carried, return_exceptions=True), SECONDS)


@in_loop
async def test_each_connection_has_its_own_bytes_and_ends_in_each_direction_by_itself() -> None:
    async with tunnel() as ends:
        connections = [await ends.connect() for _ in range(5)]
        for number, ((_, writer), (reader, _)) in enumerate(connections):
            writer.write(f"request {number}".encode())
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), SECONDS) == f"request {number}".encode()
        for number, ((reader, _), (_, writer)) in enumerate(connections):
            writer.write(f"answer {number}".encode())
            writer.close()
            assert await asyncio.wait_for(reader.read(), SECONDS) == f"answer {number}".encode()


@in_loop
async def test_who_does_not_read_holds_up_nobody_else_and_little_is_kept_for_him() -> None:
    data = secrets.token_bytes(5 * WINDOW)

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    async with tunnel() as ends:
        (_, slow), (unread, _) = await ends.connect()
        sending = asyncio.create_task(send(slow))
        (_, quick), (read, _) = await ends.connect()
        await asyncio.gather(send(quick), asyncio.wait_for(read.readexactly(len(data)), SECONDS))
        assert not sending.done()
        waiting = [data for channel in ends.far._channels.values() for data in channel.incoming._queue]
        assert 0 < sum(map(len, waiting)) <= WINDOW
        assert await asyncio.wait_for(unread.readexactly(len(data)), SECONDS) == data
        await sending


@in_loop
async def test_a_connection_that_breaks_breaks_at_the_other_end() -> None:
    async with tunnel() as ends:
        (_, writer), (reader, _) = await ends.connect()
        # Without a word: what the other side sends is refused from now on.
        writer.transport.abort()
        assert await asyncio.wait_for(reader.read(), SECONDS) == b""
        other = await ends.connect()
        other[0][1].write(b"x")
        assert await asyncio.wait_for(other[1][0].readexactly(1), SECONDS) == b"x"


@in_loop
async def test_what_nobody_answers_is_closed() -> None:
    async def refuse() -> Stream:
        raise ConnectionRefusedError

    one, other = await _pair()
    near, far = Tunnel(one), Tunnel(other, refuse)
    serving = [asyncio.create_task(end.serve()) for end in (near, far)]
    ours, theirs = await _pair()
    await asyncio.wait_for(near.carry(*theirs), SECONDS)
    assert await asyncio.wait_for(ours[0].read(), SECONDS) == b""
    other[1].close()
    await asyncio.wait_for(asyncio.gather(*serving), SECONDS)


@in_loop
async def test_one_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    async with tunnel(2, b"too many") as ends:
        (_, writer), (reader, _) = await ends.connect()
        await ends.connect()
        # The last one sends more than anybody takes, and may end before it has read why.
        for sent in (b"", b"request", bytes(3 * WINDOW)):
            ours, theirs = await _pair()
            ends.carried.append(asyncio.create_task(ends.near.carry(*theirs)))
            ours[1].write(sent)
            if len(sent) < WINDOW:
                assert await asyncio.wait_for(ours[0].read(), SECONDS) == b"too many"
            await asyncio.wait_for(ends.carried[-1], SECONDS)
        assert ends.far.refused == 3
        assert len(ends.near._channels) == 2
        writer.write(b"x")
        assert await asyncio.wait_for(reader.readexactly(1), SECONDS) == b"x"


@in_loop
async def test_the_end_of_the_stream_is_the_end_of_all_connections() -> None:
    async with tunnel() as ends:
        (near, _), (far, _) = await ends.connect()
        ends.near._writer.close()
        for reader in (near, far):
            assert await asyncio.wait_for(reader.read(), SECONDS) == b""


@pytest.mark.parametrize("frame", [b"\xff" * 9, relay._HEADER.pack(DATA, 1, WINDOW + 1)])
@in_loop
async def test_a_frame_that_is_none_ends_it(frame: bytes) -> None:
    one, other = await _pair()
    one[1].write(frame)
    with pytest.raises(ValueError, match="no frame has"):
        await asyncio.wait_for(Tunnel(other).serve(), SECONDS)
    one[1].close()


@in_loop
async def test_frames_of_a_connection_that_is_over_change_nothing() -> None:
    one, other = await _pair()
    serving = asyncio.create_task(Tunnel(other).serve())
    # The relay does not answer for others.
    one[1].write(relay._HEADER.pack(OPEN, 7, 0) + relay._HEADER.pack(DATA, 7, 1) + b"x")
    kind, number, _ = relay._HEADER.unpack(await asyncio.wait_for(one[0].readexactly(9), SECONDS))
    assert (kind, number) == (relay.RESET, 7)
    one[1].close()
    await asyncio.wait_for(serving, SECONDS)


@in_loop
async def test_a_connection_that_is_over_before_it_was_answered_leaves_nothing() -> None:
    asked = asyncio.Event()

    async def never() -> Stream:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    one, other = await _pair()
    end = Tunnel(other, never)
    serving = asyncio.create_task(end.serve())
    deadline = asyncio.get_running_loop().time() + SECONDS
    # The second has not even begun when it is over.
    for number, wait in ((1, True), (2, False)):
        one[1].write(relay._HEADER.pack(OPEN, number, 0))
        if wait:
            await asyncio.wait_for(asked.wait(), SECONDS)
        one[1].write(relay._HEADER.pack(relay.RESET, number, 0) + relay._HEADER.pack(relay.READY, 0, 0))
        await asyncio.wait_for(end.is_ready.wait(), SECONDS)
        end.is_ready.clear()
        while end._channels:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)
    one[1].close()
    await asyncio.wait_for(serving, SECONDS)


@in_loop
async def test_the_program_passes_on_what_its_port_accepts_and_ends_with_its_input() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", text_of("relay"), "a0", str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout

    async def answered() -> Stream:
        ours, theirs = await _pair()
        asyncio.get_running_loop().create_task(echo(theirs))
        return ours

    async def echo(stream: Stream) -> None:
        stream[1].write(await stream[0].readexactly(5))
        stream[1].close()

    end = Tunnel((process.stdout, process.stdin), answered)
    serving = asyncio.create_task(end.serve())
    await asyncio.wait_for(end.is_ready.wait(), SECONDS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"there")
    assert await asyncio.wait_for(reader.read(), SECONDS) == b"there"
    writer.close()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), SECONDS) == 0
    await asyncio.wait_for(serving, SECONDS)
