"""One container from its start to its end: its log in a file, as well as that can be done, and how it ended, always.

Two threads. One asks the engine for the end, with a time limit on every question: an engine that goes away, or that
keeps silent, ends the watch with a problem instead of holding it for ever. The other copies the log. Whatever
happens to it (a full disk, a broken connection) is said in the result and changes nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from flytebuild.runtime.verdict import Exit

log = logging.getLogger(__name__)

_REMOVED = (404, 409)
"""The engine's answers for a container that it does not have, or is about to forget."""

_UNKNOWN = 255
"""The exit code that an engine tells of a container whose end it has not seen."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for, in seconds.

    `question`: one request for the container's end, which is repeated. `lost`: the engine may be away for so long.
    `quiet`: the rest of the log may take so long without a byte once the container has ended. `pause`: between two
    requests after a failed one. `pull`: the pull of an image may take so long without progress.
    """

    question: float = 30.0
    lost: float = 30.0
    quiet: float = 5.0
    pause: float = 1.0
    pull: float = 600.0


LARGEST_LOG = 1 << 30
"""Bytes of a container's log that are kept; what more there is, is left out, and the log ends by saying so."""


class Watcher:
    """Watches one container that runs; `api` is a `docker.APIClient`."""

    def __init__(
        self, api: Any, container: str, log_file: Path, patience: Patience, largest: int = LARGEST_LOG
    ) -> None:
        self._api = api
        self._container = container
        self._log_file = log_file
        self._patience = patience
        self._largest = largest
        self._is_full = False
        self._is_over = threading.Event()
        self._copied = 0
        self._stream: Any = None
        self._problem = ""

    def watch(self) -> Exit:
        """Block until the container has ended and its log is read, then say how it ended; never raises."""
        copying = threading.Thread(target=self._copy_log, name=f"log-{self._container[:12]}", daemon=True)
        try:
            copying.start()
        except RuntimeError as error:
            self._problem = str(error)
        end = self._await_end()
        self._is_over.set()
        if copying.ident is not None:
            self._await_log(copying)
        if self._problem:
            log.warning("the log of container %s is not complete: %s", self._container[:12], self._problem)
        return replace(end, log_problem=self._problem)

    # The end

    def _await_end(self) -> Exit:
        lost_since, was_away = None, False
        while True:
            was_refused = False
            try:
                self._api.wait(self._container, timeout=self._patience.question)
            except Exception:  # noqa: BLE001 - errors of several HTTP layers; the next question tells what it was
                was_refused = True
            asked = time.monotonic()
            try:
                state = self._api.inspect_container(self._container)["State"]
                if not state.get("Running"):
                    code = int(state["ExitCode"])
                    if was_away and code == _UNKNOWN:
                        return Exit(None, problem="The engine was gone for a while, and the container with it")
                    return Exit(code, bool(state.get("OOMKilled")))
                lost_since = None
            except Exception as error:  # noqa: BLE001 - as above
                if getattr(error, "status_code", None) in _REMOVED:
                    return Exit(None, problem="The container was removed by somebody else")
                lost_since, was_away = lost_since or asked, True
                if time.monotonic() - lost_since >= self._patience.lost:
                    log.warning("the engine is given up for container %s: %s", self._container[:12], error)
                    lost = f"The engine did not answer for {self._patience.lost:g} s while the container ran"
                    return Exit(None, problem=lost)
            if was_refused:
                time.sleep(self._patience.pause)

    # The log

    def _copy_log(self) -> None:
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            # What an earlier control plane has copied is written again, byte by byte, and not missing meanwhile.
            with open(os.open(self._log_file, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
                self._follow(file)
        except OSError as error:
            self._problem = f"{error.strerror or error} (`{self._log_file}`)"
            self._close_stream()

    def _follow(self, file: BinaryIO) -> None:
        """Copy until a reading that was not interrupted has seen the end; raises OSError for the file's troubles.

        The engine's client hides that a stream broke off. So a reading counts when the container has ended at the
        same time, or before it began. Every reading starts at the first line, and writes again what is there.
        """
        while True:
            is_last = self._is_over.is_set()
            is_whole = self._read_once(file)
            if self._is_full or is_last or (self._is_over.wait(self._patience.pause) and is_whole):
                return

    def _read_once(self, file: BinaryIO) -> bool:
        """One reading of the log from its start; whether it came to an end without an error."""
        file.seek(0)
        try:
            self._stream = self._api.logs(self._container, stream=True, follow=True, timestamps=True)
            pieces = iter(self._stream)
        except Exception as error:  # noqa: BLE001 - errors of several HTTP layers
            return self._note(error)
        while True:
            try:
                piece = next(pieces, None)
            except Exception as error:  # noqa: BLE001 - as above
                return self._note(error)
            if piece is None:
                self._problem = ""
                return True
            if file.tell() + len(piece) > self._largest:
                self._leave_out(file)
                return True
            file.write(piece)
            file.flush()
            self._copied += len(piece)

    def _leave_out(self, file: BinaryIO) -> None:
        """End a log that is too large; what follows is not asked for."""
        file.write(b"flytebuild: the rest is left out: no more than %d bytes of a log are kept\n" % self._largest)
        self._is_full = True
        self._problem = ""
        self._close_stream()

    def _note(self, error: Exception) -> bool:
        if getattr(error, "status_code", None) not in _REMOVED:
            self._problem = str(error)
        return False

    def _await_log(self, copying: threading.Thread) -> None:
        """Let the rest of the log come, for as long as something comes."""
        copied = -1
        while copying.is_alive() and copied != self._copied:
            copied = self._copied
            copying.join(self._patience.quiet)
        if copying.is_alive():
            self._problem = self._problem or "the engine does not send the rest of it"
            self._close_stream()

    def _close_stream(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.close()
