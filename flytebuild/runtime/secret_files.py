"""Secrets as files of a container: on a tmpfs, brought in over its standard input.

The engine's way to put files into a container ends at its disk and misses what is mounted there. So the container
begins with a shell that writes what comes over its standard input, then becomes the task. The connection is there
before the container starts; when it ends too early, with the control plane for example, so does the container.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from flytebuild.runtime.container import SECRETS_FOLDER

TMPFS = {SECRETS_FOLDER: "mode=1777,size=16m"}
"""The mount, as Docker's SDK takes it: whoever the task runs as writes there, and reads what it wrote."""

_END = "."
_WRITE_AND_BECOME = f"""\
while IFS=' ' read -r flytebuild_path flytebuild_text; do
  if [ "$flytebuild_path" = {_END} ]; then exec "$@" </dev/null; fi
  (
    umask 077
    flytebuild_path="{SECRETS_FOLDER}/$flytebuild_path"
    mkdir -p "${{flytebuild_path%/*}}" && printf %s "$flytebuild_text" | base64 -d > "$flytebuild_path"
  ) || exit 1
done
echo "the control plane went away before the secrets were here" >&2
exit 1
"""


def entry(entrypoint: Sequence[str], arguments: Sequence[str], image: Mapping[str, Any]) -> list[str]:
    """The entrypoint that waits for the files, then becomes what an order and the image's `Config` say."""
    command = list(entrypoint or image.get("Entrypoint") or ())
    command += arguments or (() if entrypoint else image.get("Cmd") or ())
    return ["/bin/sh", "-c", _WRITE_AND_BECOME, "sh", *command]


class Feed:
    """The way into a container that was created and not started yet; `api` is a `docker.APIClient`."""

    def __init__(self, api: Any, container: str) -> None:
        socket = api.attach_socket(container, {"stdin": 1, "stream": 1})
        self._raw = getattr(socket, "_sock", socket)

    def write(self, files: Mapping[str, str]) -> None:
        """Bring files into it once it runs; one that has ended already says by its end what was wrong."""
        lines = [f"{path} {base64.b64encode(text.encode()).decode()}\n" for path, text in files.items()]
        with contextlib.suppress(OSError):
            self.send("".join((*lines, f"{_END}\n")).encode())

    def send(self, data: bytes) -> None:
        """Write to its standard input. Raises OSError when it does not take it."""
        self._raw.sendall(data)

    def close(self) -> None:
        """End the connection; a container that still reads ends."""
        with contextlib.suppress(OSError):
            self._raw.shutdown(1)
        self._raw.close()
