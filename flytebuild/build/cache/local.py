"""A cache in a folder of the client's, for where no registry takes one: kept by a CI service, or on a shared disk.

The folder is an OCI image layout. Its index has a manifest for every result, under the tag that `keys` gives it; the
session lends BuildKit the blobs (`buildkit.session.content`). It may be removed at any time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from flytebuild.build.cache.export import export, works
from flytebuild.build.cache.keys import BuiltImage, CacheKey
from flytebuild.build.cache.lookup import IMPORTS
from flytebuild.build.solves import Solves
from flytebuild.buildkit.solve import Cache, SolveError
from flytebuild.events import Emit, Notice

PREFIX = "local:"
"""What the configuration writes before the folder."""

_STORE = "flytebuild"
"""Which of a session's stores is meant; there is one."""

_NAME = "org.opencontainers.image.ref.name"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class LocalCache(Struct, frozen=True):
    """Looked up among the `held` manifests, of which `tags` are all results; kept in `folder`."""

    folder: Path
    compression: str
    has_bundle: bool
    held: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()

    @classmethod
    def open(cls, folder: Path, keys: Iterable[CacheKey], compression: str, *, has_bundle: bool) -> LocalCache:
        """The cache of a folder, as far as it has what these keys, or those below them, stand for."""
        held, tags = _find(_read(folder), keys)
        return cls(folder, compression, has_bundle, held, tags)

    @property
    def imports(self) -> tuple[Cache, ...]:
        return tuple(Cache("local", {"src": _STORE, "digest": digest}) for digest in self.held)

    @property
    def exports(self) -> tuple[Cache, ...]:
        """Nothing by the images' own solves: each would replace what the others have exported."""
        return ()

    async def keep(self, built: Sequence[BuiltImage], solver: Solves, emit: Emit, *, all_of_it: bool) -> None:
        known: frozenset[str] = frozenset() if all_of_it else self.tags
        attrs = {
            "dest": _STORE,
            "mode": "max",
            "image-manifest": "true",
            "oci-mediatypes": "true",
            "compression": self.compression,
        }
        try:
            for work in works(built, known, has_bundle=self.has_bundle):
                imports = () if all_of_it else self.imports
                digest = await export(work.work, str(self.folder), Cache("local", attrs), imports, solver, emit)
                tags = {tag for key in work.keys for tag in key.closure()} - known
                await asyncio.to_thread(_add, self.folder, tags, digest)
        except (SolveError, OSError) as error:
            emit(Notice(f"the cache in `{self.folder}` was not written: {error}"))


def _find(index: Mapping[str, str], keys: Iterable[CacheKey]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The manifests that hold the results nearest to these keys, the fullest first, and the tags of all of them."""
    holders: dict[str, int] = {}
    tags: set[str] = set()
    seen: set[str] = set()
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key.tag in seen:
            continue
        seen.add(key.tag)
        if digest := index.get(key.tag):
            holders[digest] = holders.get(digest, 0) + 1
            tags.update(key.closure())
        else:
            pending += key.below
    best = sorted(holders, key=lambda digest: (-holders[digest], digest))
    return tuple(best[:IMPORTS]), frozenset(tags)


def _read(folder: Path) -> dict[str, str]:
    """The digests of manifests by their tags; empty for a folder that has no index, or one that cannot be read."""
    try:
        manifests = json.loads((folder / "index.json").read_bytes())["manifests"]
        found = {item["annotations"][_NAME]: str(item["digest"]) for item in manifests}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {tag: digest for tag, digest in found.items() if _blob(folder, digest).is_file()}


def _add(folder: Path, tags: Iterable[str], digest: str) -> None:
    """Put tags to a manifest. Two clients that do so at once lose none of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        index = _read(folder) | dict.fromkeys(tags, digest)
        manifests = [
            {
                "mediaType": _MANIFEST,
                "digest": held,
                "size": _blob(folder, held).stat().st_size,
                "annotations": {_NAME: tag},
            }
            for tag, held in sorted(index.items())
        ]
        _write(folder / "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _write(folder / "index.json", {"schemaVersion": 2, "manifests": manifests})


def _write(path: Path, document: Mapping[str, object]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1))
    os.replace(part, path)


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / Path(*digest.split(":"))
