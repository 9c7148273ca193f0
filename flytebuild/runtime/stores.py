"""The seam to where objects are: in the data folder, or in a store of the user's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol


class Writer(Protocol):
    """Takes an object's content."""

    async def write(self, piece: bytes) -> None:
        """Append a piece."""


class Store(Protocol):
    """Objects by their addresses, `s3://BUCKET/KEY`.

    `base` is below what the control plane names itself. Every method raises ObjectNameError for an address that cannot
    be one of the store's, and OSError where the store does not answer.
    """

    @property
    def base(self) -> str:
        """Without a slash at its end."""

    def check(self, uri: str) -> None:
        """Nothing else, for who only wants to know."""

    async def read(self, uri: str) -> bytes | None:
        """An object's content, or None when there is none."""

    async def size(self, uri: str) -> int | None:
        """An object's size in bytes, or None when there is none."""

    async def below(self, uri: str) -> dict[str, int]:
        """The objects below an address: their sizes in bytes by the rest of their names."""

    def was_full(self, since: datetime) -> bool:
        """Whether an object has found no room since then, as far as this is seen here."""

    def file(self, uri: str) -> Path | None:
        """The file of an object, where objects are files of this machine."""

    async def write(self, uri: str, content: bytes) -> None:
        """Create or replace an object."""

    def reading(self, uri: str) -> AsyncIterator[bytes]:
        """An object's content in pieces; FileNotFoundError where there is none."""

    def writing(self, uri: str) -> AbstractAsyncContextManager[Writer]:
        """A writer of an object, which is there, whole, when the block has ended well."""
