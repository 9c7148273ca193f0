"""Whose process is at the other end of a connection, by the kernel's table of connections.

Linux tells the user of each socket of this machine; a container has a network of its own, and is not in the table.
Other systems have no such table, nor do some sandboxes; there everybody who reaches the loopback address counts as the
owner.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import struct
from pathlib import Path
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]
"""A literal address and a port."""

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_MAPPED = bytes(10) + b"\xff\xff"
_ROOT = 0


def is_owner(peer: Address, here: Address) -> bool:
    """Whether the process at the other end runs as our own user, or as root, who can do all that our user can.

    Belongs where a connection is accepted: one that its process has closed is nobody's.
    """
    if not is_known():
        return ipaddress.ip_address(peer[0]).is_loopback
    return user_of(peer, here) in (os.geteuid(), _ROOT)


@functools.cache
def is_known() -> bool:
    """Whether this system tells the users of connections: tried with one of our own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here: Address = listener.getsockname()
        with socket.create_connection(here) as client:
            return user_of(client.getsockname(), here) == os.geteuid()


def user_of(peer: Address, here: Address) -> int | None:
    """The user of the process at the other end; None where that is no process of this network."""
    for table in _TABLES:
        try:
            text = table.read_text(encoding="ascii")
        except OSError:
            continue
        for local, remote in zip(_forms(peer), _forms(here), strict=False):
            _, _, rest = text.partition(f" {local} {remote} {_ESTABLISHED} ")
            # Queues, timer, retransmissions, user, timeout, inode; a socket without one has lost its process.
            fields = rest.partition("\n")[0].split()
            if len(fields) > 5 and fields[5] != "0":
                return int(fields[3])
    return None


def _forms(address: Address) -> list[str]:
    """How the tables write an address; one of IPv4 may be used through a socket of IPv6."""
    packed = ipaddress.ip_address(address[0]).packed
    return [_written(item, address[1]) for item in ((packed, _MAPPED + packed) if len(packed) == 4 else (packed,))]


def _written(packed: bytes, port: int) -> str:
    """Words of four bytes in this machine's order, then the port."""
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
