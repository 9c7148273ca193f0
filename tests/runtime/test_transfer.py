"""Objects by signed links."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from flytebuild.runtime.model import now
from flytebuild.runtime.storage import ObjectStore
from flytebuild.runtime.transfer import Links, Transfer


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk: `sudo make test`")
def test_a_disk_that_is_full_is_known_from_then_on(small_disk: Path) -> None:
    store, links = ObjectStore(small_disk / "objects"), Links("secret")
    begun = now()

    async def put(content: bytes) -> httpx.Response:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Transfer(store, links))) as client:
            link = links.make("PUT", "s3://flytebuild/uploads/x/x", 60.0, md5)
            return await client.put(f"http://control-plane{link}", content=content)

    def was_full_after(content: bytes, status: int) -> tuple[bool, datetime]:
        assert asyncio.run(put(content)).status_code == status
        return store.was_full(begun), now()

    assert not was_full_after(bytes(1 << 20), 200)[0]
    was_full, later = was_full_after(bytes(12 << 20), 507)
    assert was_full
    assert not store.was_full(later)
    assert list((small_disk / "objects/.work").iterdir()) == []
