"""Objects in a store of the user's own, by the client that Flyte's SDK has for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from flytebuild.config import Config
from flytebuild.runtime import own_storage
from flytebuild.runtime.own_storage import CredentialsMissingError, Key, OwnStorage
from flytebuild.runtime.storage import PIECE, Entry, check_uri
from flytebuild.runtime.writing import Writer

_AT_ONCE = 500
"""Objects that one request removes; S3 itself takes twice as many."""


class RemoteStore:
    """The objects of a store; `key` gives the credentials of the moment."""

    def __init__(self, storage: OwnStorage, key: Callable[[], Key]) -> None:
        self.base = storage.base
        self._storage = storage
        self._key = key
        self._clients: dict[tuple[str, Key], S3Store] = {}

    def check(self, uri: str) -> None:
        """Raises ObjectNameError for what cannot be an object."""
        check_uri(uri)

    async def read(self, uri: str) -> bytes | None:
        """An object's content, or None when there is none."""
        with _told(uri):
            try:
                store, key = self._place(uri)
                return bytes(await (await obstore.get_async(store, key)).bytes_async())
            except (FileNotFoundError, NotFoundError):
                return None

    async def size(self, uri: str) -> int | None:
        """An object's size in bytes, or None when there is none."""
        with _told(uri):
            try:
                return int((await obstore.head_async(*self._place(uri)))["size"])
            except (FileNotFoundError, NotFoundError):
                return None

    async def below(self, uri: str) -> dict[str, int]:
        """The objects below an address: their sizes by the rest of their names."""
        found = {}
        with _told(uri):
            store, key = self._place(uri)
            async for page in obstore.list(store, prefix=f"{key}/"):
                found.update({str(item["path"]).removeprefix(f"{key}/"): int(item["size"]) for item in page})
        return found

    async def entries(self, uri: str) -> list[Entry]:
        """The objects below an address, by their whole keys."""
        found = []
        with _told(uri):
            store, key = self._place(uri)
            async for page in obstore.list(store, prefix=f"{key}/"):
                found += [
                    Entry(str(item["path"]), int(item["size"]), item["last_modified"].timestamp(), item["e_tag"] or "")
                    for item in page
                ]
        return found

    async def remove(self, keys: Sequence[str]) -> dict[str, str]:
        """Remove objects by their whole keys; why some could not be, by theirs. What is not there is removed."""
        refused = {}
        for start in range(0, len(keys), _AT_ONCE):
            several = list(keys[start : start + _AT_ONCE])
            # The client tells of the first refusal alone, so each one is asked for by itself then.
            if await self._refusal(several):
                refused.update({key: why for key in several if (why := await self._refusal([key]))})
        return refused

    async def _refusal(self, keys: list[str]) -> str:
        bucket, _ = check_uri(f"{self.base}/x")
        try:
            with _told(f"s3://{bucket}/{keys[0]}"):
                store, _ = self._place(f"s3://{bucket}/{keys[0]}")
                await obstore.delete_async(store, keys if len(keys) > 1 else keys[0])
        except FileNotFoundError:
            return ""
        except OSError as error:
            return str(error.strerror)
        return ""

    def was_full(self, _since: datetime) -> bool:
        """Its own affair: what it refuses, it refuses to the tasks."""
        return False

    def file(self, _uri: str) -> Path | None:
        """Nothing is a file of this machine."""
        return None

    async def write(self, uri: str, content: bytes) -> None:
        """Create or replace an object."""
        with _told(uri):
            await obstore.put_async(*self._place(uri), content)

    async def reading(self, uri: str) -> AsyncIterator[bytes]:
        """An object's content in pieces; FileNotFoundError where there is none."""
        with _told(uri):
            async for piece in (await obstore.get_async(*self._place(uri))).stream(min_chunk_size=PIECE):
                yield bytes(piece)

    @contextlib.asynccontextmanager
    async def writing(self, uri: str) -> AsyncIterator[Writer]:
        """A writer of an object, there when the block has ended well; until then it is a file of this machine."""
        place, key = self._place(uri)
        with tempfile.TemporaryFile(buffering=0) as file:
            writer = Writer(file)
            yield writer
            await writer.flush()
            await asyncio.to_thread(file.seek, 0)
            with _told(uri):
                await obstore.put_async(place, key, file)

    def _place(self, uri: str) -> tuple[S3Store, str]:
        bucket, key = check_uri(uri)
        found = self._key()
        if (bucket, found) not in self._clients:
            options = {
                "access_key_id": found.identifier,
                "secret_access_key": found.secret,
                "token": found.token,
                "region": self._storage.region,
                "endpoint": self._storage.endpoint,
            }
            given: Any = {name: value for name, value in options.items() if value}
            self._clients[bucket, found] = S3Store(bucket, config=given, client_options={"allow_http": True})
        return self._clients[bucket, found], key


def open_store(config: Config) -> RemoteStore | None:
    """The store that is configured; None where objects are in the data folder.

    Raises ControlPlaneError where there are no credentials for it.
    """
    storage = own_storage.configured(config)
    if storage is None:
        return None
    try:
        own_storage.find_key(os.environ)
    except CredentialsMissingError as error:
        raise own_storage.missing(storage, error) from error
    return RemoteStore(storage, lambda: own_storage.find_key(os.environ))


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """The store's refusals as errors of the system, in one line: what the client tells has many."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, CredentialsMissingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(None, f"the store does not give or take `{uri}`: {reason}") from error
