"""An executor without containers: what an image would run is a process of a virtual environment on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from flytebuild.runtime.addresses import HOST_NAME, LOOPBACK
from flytebuild.runtime.container import Order
from flytebuild.runtime.executor import Started, StartError, Tell
from flytebuild.runtime.verdict import Exit


@dataclass
class ProcessExecutor:
    """Runs the `a0` of the virtual environment that `python` is in, each time in a new folder below `work`.

    `variables` are put over what the control plane gives a container.
    """

    python: Path
    work: Path
    variables: Mapping[str, str]
    orders: list[Order] = field(default_factory=list)
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(
        self, order: Order, log_file: Path, turn: AbstractAsyncContextManager[object], tell: Tell
    ) -> Started:
        """Start what the order's arguments say."""
        self.orders.append(order)
        folder = self.work / str(len(self.orders))
        folder.mkdir(parents=True)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        program, *arguments = (*order.entrypoint, *order.arguments)
        # A container has another name for this machine.
        environ = {name: value.replace(HOST_NAME, LOOPBACK) for name, value in order.environment.items()}
        async with turn:
            with log_file.open("wb") as log:
                try:
                    process = await asyncio.create_subprocess_exec(
                        self.python.with_name(program),
                        *arguments,
                        cwd=folder,
                        env={
                            "PATH": f"{self.python.parent}:{os.defpath}",
                            "HOME": str(folder),
                            **environ,
                            **self.variables,
                        },
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                except OSError as error:
                    raise StartError("ContainerNotStarted", f"The process cannot be started: {error}") from error
        self._running[folder.name] = process
        return Started(folder.name, str(self.python))

    async def wait(self, started: Started) -> Exit:
        """Wait for the process's end."""
        return Exit(await self._running[started.container].wait())

    async def fetch(self, started: Started, path: str) -> Iterator[bytes]:
        """There is no container to take something from."""
        raise FileNotFoundError(path)

    async def remove(self, started: Started) -> None:
        """Kill the process with all that it started, and remove its folder."""
        process = self._running.pop(started.container)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await asyncio.to_thread(shutil.rmtree, self.work / started.container, ignore_errors=True)
