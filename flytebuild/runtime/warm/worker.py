"""One warm container: what is asked of the worker in it, and what it tells. The program is `flytebuild.inside.worker`.

It is asked over its standard input; what it tells is read from its log, by a thread of its own. A log can be read
again from its start, so nothing is lost where a connection breaks, or where another control plane takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from flytebuild.runtime.container import Order
from flytebuild.runtime.executor import Started
from flytebuild.runtime.requests import Requests
from flytebuild.runtime.secret_files import Feed
from flytebuild.runtime.verdict import Exit
from flytebuild.runtime.watcher import Patience
from flytebuild.threads import in_thread

log = logging.getLogger(__name__)

_KILL_SECONDS = 10.0
"""How long the end of an action may take that was killed, before its container is."""


class RefusedError(Exception):
    """Raised where an image, or what is in it, cannot have warm containers; says why."""


class GoneError(Exception):
    """Raised where a worker has ended before it could begin an action; says how."""


@dataclass
class Assignment:
    """An action in a worker."""

    log_file: Path
    begun: asyncio.Future[None]
    ended: asyncio.Future[Exit]
    problem: str = ""
    file: BinaryIO | None = field(default=None, repr=False)

    def write(self, text: str) -> None:
        """Append to its log, whose troubles change nothing else; in the reading thread."""
        try:
            if self.file is None:
                self.log_file.parent.mkdir(parents=True, exist_ok=True)
                # What an earlier control plane has copied is written again, and not missing meanwhile.
                self.file = os.fdopen(os.open(self.log_file, os.O_WRONLY | os.O_CREAT, 0o644), "wb")
            self.file.write(text.encode())
            self.file.flush()
        except OSError as error:
            self.problem = f"{error.strerror or error} (`{self.log_file}`)"

    def close(self) -> None:
        """Close its log."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()


class Worker:
    """A container that was started with a worker's order; its methods belong to the event loop's thread.

    `ready` is done when it takes actions, with RefusedError when it does not, or with GoneError; `over` when the
    container has ended. Without a `feed` it belongs to an earlier control plane, and takes no more.
    """

    def __init__(self, api: Any, requests: Requests, started: Started, feed: Feed | None, patience: Patience) -> None:
        self.started = started
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(_look)
        self.over: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._api = api
        self._requests = requests
        self._feed = feed
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._assignments: dict[str, Assignment] = {}
        self._sending = asyncio.Lock()
        self._seen = 0

    def follow(self) -> None:
        """Begin to read what it tells. Raises RuntimeError when the system has no thread left."""
        in_thread(self._watch, f"worker-{self.started.container[:12]}").add_done_callback(self._finish)

    def adopt(self, name: str, log_file: Path) -> None:
        """Take an action over that was begun before; belongs before `follow`."""
        self._assignments[name] = Assignment(log_file, self._loop.create_future(), self._loop.create_future())

    async def begin(self, name: str, order: Order, log_file: Path) -> None:
        """Begin an action. Raises RefusedError and GoneError, and nothing has begun then."""
        assignment = Assignment(log_file, self._loop.create_future(), self._loop.create_future())
        assignment.begun.add_done_callback(_look)
        await asyncio.shield(self.ready)
        self._assignments[name] = assignment
        own = {key: value for key, value in order.environment.items() if key in order.own}
        try:
            if self.over.done():
                raise GoneError("it has ended")
            await self.send(begin=name, arguments=order.arguments[1:], environment=own)
            await asyncio.shield(assignment.begun)
        except BaseException:
            await asyncio.shield(self.end(name))
            raise

    async def send(self, **command: object) -> None:
        """Tell the worker something. Raises GoneError."""
        if self._feed is None:
            raise GoneError("it belongs to an earlier control plane")
        data = json.dumps(command).encode() + b"\n"
        async with self._sending:
            try:
                await self._requests.ask(partial(self._feed.send, data))
            except OSError as error:
                raise GoneError(f"it takes no more: {error}") from error

    async def wait(self, name: str) -> Exit:
        """Wait for an action's end."""
        return await asyncio.shield(self._assignments[name].ended)

    async def end(self, name: str) -> bool:
        """Have nothing left of an action; False where that cannot be had without the end of the container."""
        assignment = self._assignments.get(name)
        if assignment is None:
            return True
        try:
            if not assignment.ended.done() and not self.over.done():
                await self.send(kill=name)
                await asyncio.wait_for(asyncio.shield(assignment.ended), _KILL_SECONDS)
        except (GoneError, asyncio.TimeoutError):
            return self.over.done()
        self._assignments.pop(name, None)
        return True

    def retire(self) -> None:
        """Let it end when its actions have ended."""
        if self._feed is not None:
            self._feed.close()

    def history(self) -> dict[str, bool]:
        """The actions that have begun in it, and which of them are under way; asks the engine, and blocks."""
        found: dict[str, bool] = {}
        with contextlib.suppress(Exception):
            said = bytes(self._api.logs(self.started.container, stdout=True, stderr=False))
            for event in map(json.loads, said.split(b"\n")[:-1]):
                if name := event.get("begun") or event.get("ended"):
                    found[name] = "begun" in event
        return found

    # What it tells; `_watch` and what it calls run in the thread

    def _watch(self) -> Exit:
        """Follow what it tells until its container has ended, then say how."""
        lost_since = None
        while True:
            try:
                for event in self._events():
                    lost_since = None
                    self._take(event)
            except Exception as error:  # noqa: BLE001 - errors of several HTTP layers; the next question tells more
                log.debug("the events of worker %s broke off: %s", self.started.container[:12], error)
            asked = time.monotonic()
            try:
                state = self._api.inspect_container(self.started.container)["State"]
                if not state.get("Running"):
                    return Exit(int(state["ExitCode"]), bool(state.get("OOMKilled")), problem=self._last_words())
                lost_since = None
            except Exception as error:  # noqa: BLE001 - as above
                if getattr(error, "status_code", None) in (404, 409):
                    return Exit(None, problem="its container was removed")
                lost_since = lost_since or asked
                if time.monotonic() - lost_since >= self._patience.lost:
                    return Exit(None, problem=f"the engine did not answer for {self._patience.lost:g} s")
            time.sleep(self._patience.pause)

    def _events(self) -> Iterator[dict[str, Any]]:
        """What it has told since the last reading, and tells from now on, until the stream ends."""
        rest, passed = b"", 0
        pieces = self._api.logs(self.started.container, stdout=True, stderr=False, stream=True, follow=True)
        for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                passed += 1
                if passed > self._seen:
                    self._seen = passed
                    yield json.loads(line)

    def _last_words(self) -> str:
        """What it wrote on its standard error at last."""
        with contextlib.suppress(Exception):
            said = self._api.logs(self.started.container, stdout=False, stderr=True, tail=3)
            return " ".join(bytes(said).decode("utf-8", "replace").split())
        return ""

    def _take(self, event: dict[str, Any]) -> None:
        if (assignment := self._assignments.get(event.get("of", ""))) and "log" in event:
            assignment.write(event["log"])
        elif (assignment := self._assignments.get(event.get("ended", ""))) is not None:
            assignment.close()
        if "log" not in event:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                self._loop.call_soon_threadsafe(self._note, event)

    def _note(self, event: dict[str, Any]) -> None:
        if "ready" in event:
            _settle(self.ready, None)
        elif "refused" in event:
            _fail(self.ready, RefusedError(event["refused"]))
        elif (assignment := self._assignments.get(event.get("begun", ""))) is not None:
            _settle(assignment.begun, None)
        elif (assignment := self._assignments.get(event.get("ended", ""))) is not None:
            exit_ = Exit(event["code"], event["is_out_of_memory"], log_problem=assignment.problem)
            _settle(assignment.ended, exit_)

    def _finish(self, watched: asyncio.Future[Exit]) -> None:
        """Nothing comes any more: end what has not ended."""
        self.retire()
        error = watched.exception()
        exit_ = watched.result() if error is None else Exit(None, problem=f"{type(error).__name__}: {error}")
        how = exit_.problem or f"its container ended with exit code {exit_.code}"
        if exit_.code is None:
            _fail(self.ready, GoneError(how))
        _fail(self.ready, RefusedError(how))
        for assignment in self._assignments.values():
            assignment.close()
            _fail(assignment.begun, GoneError(how))
            lost = Exit(None, problem=f"The worker was lost: {how}", log_problem=assignment.problem)
            _settle(assignment.ended, Exit(exit_.code, is_out_of_memory=True) if exit_.is_out_of_memory else lost)
        _settle(self.over, exit_)


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _look(future: asyncio.Future[Any]) -> None:
    """Whoever waits gets the error; where nobody does, asyncio is not to print one."""
    if not future.cancelled():
        future.exception()
