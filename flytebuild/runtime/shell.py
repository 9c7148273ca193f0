"""One container at the user's terminal, or at pipes: created, fed, listened to, removed.

Nothing is bind-mounted: the engine may live on another machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flytebuild.errors import EngineUnavailableError
from flytebuild.runtime import archives
from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.archives import Entry
from flytebuild.runtime.container import Limits
from flytebuild.runtime.containers import host_settings

if TYPE_CHECKING:
    import docker

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash || exec sh")
"""What runs where no command is given: the better one of the shells that images have."""

_CHUNK = 64 << 10


@dataclass(frozen=True, slots=True)
class Session:
    """What runs where: `code` is an archive for the image's working directory, `tree` one for the container's root.

    `extra` goes where its paths say. `network` is its part of the host's configuration. `is_terminal` asks for a
    terminal in the container; it needs one here.
    """

    image: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    code: bytes | Iterable[bytes] = field(repr=False)
    extra: Sequence[Entry]
    is_terminal: bool
    network: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value
    tree: Iterable[bytes] | None = None


def converse(client: docker.DockerClient, session: Session) -> int:
    """Run it to its end between stdin and stdout; returns its exit code, and leaves no container.

    Raises EngineUnavailableError when the engine refuses it.
    """
    api = client.api
    with container(api, session) as name:
        socket = api.attach_socket(name, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        api.start(name)
        with _raw(api, name) if session.is_terminal else contextlib.nullcontext():
            threading.Thread(target=_feed, args=(socket,), daemon=True).start()
            _listen(socket, is_terminal=session.is_terminal)
        return int(api.wait(name)["StatusCode"])


@contextlib.contextmanager
def container(api: Any, session: Session) -> Iterator[str]:
    """The name of a container that is made and not started, with its files; it is removed in the end.

    Raises EngineUnavailableError when the engine refuses it, or anything that is done with it meanwhile.
    """
    from docker.errors import DockerException

    name = f"flytebuild-shell-{secrets.token_hex(6)}"
    try:
        folder = api.inspect_image(session.image)["Config"].get("WorkingDir") or "/"
        api.create_container(
            session.image,
            name=name,
            command=list(session.command),
            entrypoint=[],
            environment=dict(session.environment),
            labels={f"{LABEL}.shell": session.image},
            tty=session.is_terminal,
            stdin_open=True,
            host_config=api.create_host_config(init=True, **session.network, **host_settings(session.limits)),
        )
        if session.code:
            api.put_archive(name, folder, session.code)
        if session.tree is not None:
            api.put_archive(name, "/", session.tree)
        if session.extra:
            api.put_archive(name, "/", archives.pieces(session.extra))
        yield name
    except (DockerException, OSError) as error:
        reason = getattr(error, "explanation", None) or error
        raise EngineUnavailableError(f"The container cannot be run: {reason}") from error
    finally:
        with contextlib.suppress(DockerException, OSError):
            api.remove_container(name, force=True, v=True)


def _feed(socket: Any) -> None:
    """What is typed or piped in, until its end."""
    raw = getattr(socket, "_sock", socket)
    with contextlib.suppress(OSError, ValueError):
        while data := os.read(sys.stdin.fileno(), _CHUNK):
            raw.sendall(data)
        raw.shutdown(1)


def _listen(socket: Any, *, is_terminal: bool) -> None:
    """What the container writes, to the stream that it is for."""
    from docker.utils.socket import STDERR, frames_iter

    for stream, data in frames_iter(socket, is_terminal):
        out = sys.stderr if stream == STDERR and not is_terminal else sys.stdout
        with contextlib.suppress(io.UnsupportedOperation):
            out.flush()
        os.write(out.fileno(), data)


@contextlib.contextmanager
def _raw(api: Any, container: str) -> Iterator[None]:
    """Every key goes to the container, whose terminal is as large as ours; ours is as it was afterwards."""

    def resize(*_: object) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(Exception):
            api.resize(container, size.lines, size.columns)

    before = termios.tcgetattr(sys.stdin)
    handler = signal.signal(signal.SIGWINCH, resize)
    try:
        tty.setraw(sys.stdin)
        resize()
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)
