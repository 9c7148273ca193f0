"""Taking what BuildKit exports as a file: the stream of a tar archive (`FileSend.DiffCopy`, buildkit `filesync`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from flytebuild.buildkit._pb import control_pb2
from flytebuild.buildkit.session.providers import UNKNOWN, RefusedCallError

_NAME = "exporter-md-image.name"
"""What tells the exports of one session apart: the image's name is in what the exporter says of its result."""


class Archives(Struct, frozen=True):
    """Writes each export to the file that `place` has for its image's name."""

    place: Callable[[str], Path]
    method: str = "/moby.filesync.v1.FileSend/DiffCopy"

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        """Take one archive."""
        name = next(iter(metadata.get(_NAME, ())), "")
        try:
            with self.place(name).open("wb") as file:
                for raw in requests:
                    file.write(control_pb2.BytesMessage.FromString(raw).data)
        except OSError as error:
            raise RefusedCallError(UNKNOWN, f"the archive of `{name}` cannot be written ({error.strerror})") from error
        return iter(())
