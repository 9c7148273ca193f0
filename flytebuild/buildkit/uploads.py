"""What a solve is bringing to a registry, as far as BuildKit tells.

It tells little. As seen with BuildKit 0.13 (Docker Engine 26.1), an image's export is one vertex, `exporting to image`,
with these statuses one after the other, each of which starts and completes and has no number of bytes (`0/0`):

    exporting layers                    compression; over before anything is pushed
    exporting manifest sha256:…
    exporting config sha256:…
    pushing layers                      all blobs, up to four at the same time
    pushing manifest for HOST/REPOSITORY

An export of a cache, `exporting cache to registry`, has `preparing build cache for export`, which lasts as long as the
vertex, and within it `writing layer sha256:…` for each blob in turn, `writing config sha256:…` and
`writing cache image manifest sha256:…`. Layers that are fetched from elsewhere in order to be pushed have statuses of
their own, with bytes. So while large layers are uploaded nothing at all is told, for however long that takes: silence
alone says nothing about the registry.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flytebuild.buildkit._pb import control_pb2

_UPLOADS = ("pushing ", "writing ")
"""How the statuses of uploads begin."""


@dataclass
class Uploads:
    """Follows one solve's status stream; `take` is called by the thread that reads it."""

    clock: Callable[[], float] = time.monotonic
    _open: dict[tuple[str, str], str] = field(default_factory=dict)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def take(self, message: control_pb2.StatusResponse) -> None:
        """Note what a message says; whatever it is, something has moved."""
        self.hear()
        for status in message.statuses:
            key = (status.vertex, status.id)
            if status.HasField("completed"):
                self._open.pop(key, None)
            elif status.id.startswith(_UPLOADS):
                self._open[key] = status.id

    @property
    def current(self) -> str | None:
        """What is uploaded now, in BuildKit's words."""
        return next(iter(self._open.values()), None)

    @property
    def is_large(self) -> bool:
        """Whether that may take long: layers may, manifests and configs have a few kilobytes."""
        return "layer" in (self.current or "")

    def hear(self) -> None:
        """Something was heard of it in another way."""
        self._last = self.clock()

    @property
    def silence(self) -> float:
        """Seconds since anything was told or heard of the solve."""
        return self.clock() - self._last
