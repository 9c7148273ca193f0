"""Tasks whose image knows nothing of Flyte: files in, files out, brought and fetched by the engine's archives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from flytebuild.runtime.archives import Distant, Entry
from flytebuild.runtime.container import Order, OrderError, template_values
from flytebuild.runtime.model import Action, Attempt, Failure, Run
from flytebuild.runtime.raw_inputs import Object, Staged, staged, substituted
from flytebuild.runtime.raw_outputs import Harvest, OutputError, check_types
from flytebuild.runtime.reach import Access, Everything
from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal

_FILE, _FOLDER = 0o666, 0o777
"""Whoever the image's user is, reads the inputs and writes the outputs; nobody else is in its container."""


def is_raw(action: Action) -> bool:
    """Whether an action's container is fed and read by us, instead of by an SDK inside."""
    return action.task is not None and action.task.task_template.container.data_config.enabled


class RawContainers:
    """Puts inputs into orders, and makes outputs of what containers left.

    Inputs are made by tasks, and may name anything: `access` tells what the containers of a run may read.
    """

    def __init__(self, store: Store, access: Callable[[str], Access] = lambda _run: Everything()) -> None:
        self._store = store
        self._access = access

    async def fill(self, order: Order, action: Action) -> Order:
        """The order with its inputs as arguments and as files; any other task's is as it was.

        Raises OrderError for inputs and outputs that no file can stand for.
        """
        from flyteidl2.task.common_pb2 import Inputs

        if action.task is None or not is_raw(action):
            return order
        template = action.task.task_template
        config = template.container.data_config
        check_types(template.interface.outputs)
        try:
            inputs = Inputs.FromString(await self._store.read(action.input_uri) or b"")
            found = staged(inputs, config)
            files = await self._entries(found, action.key.run)
        except ObjectNameError as error:
            raise OrderError(f"An input of task `{template.id.name}` cannot be reached: {error}") from error
        folders = [Entry(path.strip("/"), None, _FOLDER) for path in (config.input_path, config.output_path) if path]
        return replace(
            order,
            entrypoint=tuple(substituted(item, inputs) for item in order.entrypoint),
            arguments=tuple(substituted(item, inputs) for item in order.arguments),
            files=(*folders, *files),
        )

    async def collect(
        self, run: Run, action: Action, attempt: Attempt, fetch: Callable[[str], Awaitable[Iterator[bytes]]]
    ) -> Failure | None:
        """Make an attempt's outputs of what its container left, or say why that cannot be done.

        `fetch` gives the archive of a folder; it raises FileNotFoundError when there is none, OSError otherwise.
        """
        assert action.task is not None  # noqa: S101 - only tasks run in containers
        template = action.task.task_template
        outputs, folder = template.interface.outputs, template.container.data_config.output_path
        if not outputs.variables:
            return None
        harvest = Harvest(self._store, outputs, template_values(run, action, attempt)["rawOutputDataPrefix"])
        try:
            values = await harvest.take(await fetch(folder))
        except OutputError as error:
            return Failure("OutputsUnusable", str(error), is_recoverable=True)
        except FileNotFoundError:
            return Failure("OutputsMissing", f"The container has no folder `{folder}` any more", is_recoverable=True)
        except ObjectNameError as error:
            return Failure("OutputsUnreachable", str(error))
        except OSError as error:
            return Failure("OutputsUnreachable", f"The outputs cannot be fetched: {error}", True, True)
        await self._store.write(f"{attempt.outputs}/outputs.pb", _message(values))
        return None

    async def _entries(self, found: Staged, run: str) -> list[Entry]:
        """What goes into the container, folders before what they hold."""
        access = self._access(run)
        files: dict[str, Entry] = {}
        for path, source in found.files.items():
            path = path.strip("/")
            if isinstance(source, bytes):
                files[path] = Entry(path, source, _FILE)
            else:
                files.update((entry.path, entry) for entry in await self._objects(path, source, access))
        return list(files.values())

    async def _objects(self, path: str, source: Object, access: Access) -> list[Entry]:
        """A file, or a folder with what is in it."""
        uri = source.uri.rstrip("/")
        self._store.check(uri)
        if not (access.may_list(f"{uri}/") if source.is_prefix else access.may_read(uri)):
            raise OrderError(f"The input `/{path}` is `{uri}`, which this run may not read")
        if source.is_prefix:
            inner = await self._store.below(uri)
            parts = [self._file(f"{path}/{name}", f"{uri}/{name}", size) for name, size in inner.items()]
            return [Entry(path, None, _FOLDER), *parts]
        size = await self._store.size(uri)
        if size is None:
            raise OrderError(f"The input `/{path}` is gone: there is no object `{uri}`")
        return [self._file(path, uri, size)]

    def _file(self, path: str, uri: str, size: int) -> Entry:
        """An object as a file of a container; it is read when it is put there, in a thread."""
        give = partial(_in_turn, asyncio.get_running_loop(), self._store, uri)
        return Entry(path, self._store.file(uri) or Distant(size, give), _FILE)


def _in_turn(loop: asyncio.AbstractEventLoop, store: Store, uri: str) -> Iterator[bytes]:
    """The pieces of an object, which `loop` fetches while a thread waits for each."""
    content = store.reading(uri)

    async def following() -> bytes | None:
        return await anext(content, None)

    while (piece := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
        yield piece


def _message(values: dict[str, Literal]) -> bytes:
    from flyteidl2.task.common_pb2 import NamedLiteral, Outputs

    literals = [NamedLiteral(name=name, value=value) for name, value in values.items()]
    return bytes(Outputs(literals=literals).SerializeToString(deterministic=True))
