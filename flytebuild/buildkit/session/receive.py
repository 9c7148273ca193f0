"""Taking what BuildKit exports as a file: the stream of a tar archive (`FileSend.DiffCopy`, buildkit `filesync`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from flytebuild.buildkit._pb import control_pb2

_NAME = "exporter-md-image.name"
"""What tells the exports of one session apart: the image's name is in what the exporter says of its result."""


@dataclass(frozen=True)
class Archives:
    """Writes each export to the file that `place` has for its image's name."""

    place: Callable[[str], Path]
    method: str = "/moby.filesync.v1.FileSend/DiffCopy"

    def exchange(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Take one archive."""
        name = dict(context.invocation_metadata()).get(_NAME, "")
        try:
            with self.place(name).open("wb") as file:
                for raw in requests:
                    file.write(control_pb2.BytesMessage.FromString(raw).data)
        except OSError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"the archive of `{name}` cannot be written ({error.strerror})")
        return iter(())
