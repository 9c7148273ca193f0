"""Runs in a container of a task's image, where the control plane is on another machine: it brings connections there.

`python relay.py PROGRAM PORT` listens on PORT, whatever PROGRAM is, and passes every connection on through its standard
output, together with all others; what comes back is on its standard input. It ends with that. The control plane uses
this file as well, at the other end of those two streams. Python 3.10 is all that it needs.

Both streams are frames: the kind (one byte), the number of the connection and the number of bytes that follow (four
each, the highest first).

    READY   the port is open
    OPEN    a connection was accepted; this number is its own from now on
    DATA    bytes of it
    TAKEN   so many bytes of DATA (four bytes) have been passed on; nobody sends more than WINDOW ahead of that
    END     no more DATA comes; the other direction goes on
    RESET   it is over, in both directions
    ALIVE   nothing; is answered by the same, so that each side knows that the other one is there
    REFUSED it is one too many, and over once these last bytes of it are passed on
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

READY, OPEN, DATA, TAKEN, END, RESET, ALIVE, REFUSED = range(8)

WINDOW = 1 << 20
"""Bytes of one connection and direction that may be on their way; more would be faster only over very long ways."""

_CHUNK = 64 << 10
_HEADER = struct.Struct(">BII")
_COUNT = struct.Struct(">I")

Stream: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"


class Channel:
    """One connection: what has come for it and waits to be passed on, and how much may be sent of it."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.room = WINDOW
        self.has_room = asyncio.Event()
        self.is_refused = False
        self.task: asyncio.Task[None] | None = None

    def give_room(self, count: int) -> None:
        """Let so many bytes more be sent."""
        self.room += count
        self.has_room.set()


class Tunnel:
    """Many connections through one stream; `answer` opens what a connection of the other side is joined with.

    Of those there are `most` at the same time, where that is given; any other one gets `refusal` to read, and ends.
    """

    def __init__(
        self,
        stream: Stream,
        answer: Callable[[], Awaitable[Stream]] | None = None,
        most: int | None = None,
        refusal: bytes = b"",
    ) -> None:
        self.is_ready = asyncio.Event()
        self.heard = 0
        """So many frames have come."""
        self.refused = 0
        """So many connections were too many."""
        self._most = most
        self._refusal = refusal
        self._reader, self._writer = stream
        self._answer = answer
        self._channels: dict[int, Channel] = {}
        self._count = 0
        self._drain = asyncio.Lock()

    async def serve(self) -> None:
        """Take frames until there are no more; all connections end then. Raises OSError, ValueError for no frame."""
        try:
            while True:
                kind, number, size = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
                if size > WINDOW:
                    raise ValueError(f"no frame has {size} bytes")
                self._take(kind, number, await self._reader.readexactly(size))
        except asyncio.IncompleteReadError:
            pass
        finally:
            tasks = [channel.task for channel in self._channels.values() if channel.task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def send(self, kind: int, number: int = 0, data: bytes = b"") -> None:
        """Send a frame; it does not wait."""
        self._writer.write(_HEADER.pack(kind, number, len(data)) + data)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection on, until it is over."""
        self._count += 1
        number, channel = self._count, Channel()
        self._channels[number] = channel
        self.send(OPEN, number)
        channel.task = asyncio.current_task()
        try:
            await self._join(number, channel, (reader, writer))
        finally:
            del self._channels[number]

    def _take(self, kind: int, number: int, data: bytes) -> None:
        self.heard += 1
        if kind == READY:
            self.is_ready.set()
        elif kind == OPEN and self._most is not None and len(self._channels) >= self._most:
            self.refused += 1
            self.send(REFUSED, number, self._refusal)
        elif kind == OPEN:
            channel = self._channels[number] = Channel()
            channel.task = asyncio.create_task(self._accept(number, channel))
            # Not at its end, which a task does not come to that is cancelled before it begins.
            channel.task.add_done_callback(lambda _: self._channels.pop(number))
        elif kind == ALIVE and self._answer is None:
            self.send(ALIVE)
        elif (channel_ := self._channels.get(number)) is None:
            # It was over for us when this was sent.
            return
        elif kind == DATA:
            channel_.incoming.put_nowait(data)
        elif kind == TAKEN:
            channel_.give_room(*_COUNT.unpack(data))
        elif kind == END:
            channel_.incoming.put_nowait(None)
        elif kind == REFUSED:
            channel_.is_refused = True
            channel_.incoming.put_nowait(data)
            channel_.incoming.put_nowait(None)
        elif kind == RESET and channel_.task:
            channel_.task.cancel()

    async def _accept(self, number: int, channel: Channel) -> None:
        try:
            if self._answer is None:
                raise OSError("nobody answers here")
            await self._join(number, channel, await self._answer())
        except OSError:
            self.send(RESET, number)

    async def _join(self, number: int, channel: Channel, stream: Stream) -> None:
        """Pass on what comes from either side, until both have ended or one is over."""
        reader, writer = stream
        ways = [
            asyncio.create_task(way) for way in (self._out(number, channel, reader), self._in(number, channel, writer))
        ]
        try:
            await asyncio.gather(*ways)
        except (OSError, asyncio.CancelledError):
            with contextlib.suppress(OSError):
                self.send(RESET, number)
        finally:
            for way in ways:
                way.cancel()
            writer.close()

    async def _out(self, number: int, channel: Channel, reader: asyncio.StreamReader) -> None:
        while True:
            while not channel.room:
                channel.has_room.clear()
                await channel.has_room.wait()
            data = await reader.read(min(_CHUNK, channel.room))
            if not data:
                self.send(END, number)
                return
            channel.room -= len(data)
            self.send(DATA, number, data)
            async with self._drain:
                await self._writer.drain()

    async def _in(self, number: int, channel: Channel, writer: asyncio.StreamWriter) -> None:
        while (data := await channel.incoming.get()) is not None:
            writer.write(data)
            await writer.drain()
            self.send(TAKEN, number, _COUNT.pack(len(data)))
        if channel.is_refused:
            raise ConnectionRefusedError
        writer.write_eof()


async def relay(port: int) -> None:
    """Pass on the connections to a port of this machine until the standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    tunnel = Tunnel((reader, asyncio.StreamWriter(transport, protocol, None, loop)))
    server = await asyncio.start_server(tunnel.carry, port=port)
    tunnel.send(READY)
    await tunnel.serve()
    server.close()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[2])))
