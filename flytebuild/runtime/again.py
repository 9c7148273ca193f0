"""What it takes to run an action again by hand: its image, command, variables, inputs, code, told to the owner.

The command is the attempt's own but for two things. The code is not fetched, so that what is changed in place counts;
and outputs go to a place of their own, so that the attempt's stay. As the action keeps its name, tasks that it calls
with the same inputs answer with what they have returned or raised already. What a container without Flyte finds in its
input folder is asked for apart, as an archive.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TypeAlias

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.archives import pieces
from flytebuild.runtime.container import Order, OrderError, Secrets, Site, order, secret_names
from flytebuild.runtime.executor import StartError
from flytebuild.runtime.http import Receive, Request, Response, Scope, Send, json_response, text_response
from flytebuild.runtime.model import Action, ActionKey, Attempt
from flytebuild.runtime.raw_container import RawContainers, is_raw
from flytebuild.runtime.records import UnknownError
from flytebuild.runtime.services.bundle import bundle_of
from flytebuild.runtime.stores import Store
from flytebuild.runtime.transfer import Links
from flytebuild.runtime.web.values import read

Prepare: TypeAlias = Callable[[Order], Awaitable[None]]
"""Has what the container of an order needs to reach the control plane; raises StartError."""


async def prepare_nothing(_order: Order) -> None:
    """Where containers reach the control plane by themselves."""


_LINK_SECONDS = 12 * 3600.0
"""A shell may be open for long before its command is run."""

_LARGEST_INPUTS = 8 << 20
_CODE_OPTIONS = ("--tgz", "--dest")


class NotRepeatableError(Exception):
    """Raised for an action that has nothing to run again; the message is a sentence."""


class Again:
    """The ASGI application that answers `GET /again/RUN/ACTION`, `…/files` and `…/secrets`, to the owner's token."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        links: Links,
        raw: RawContainers,
        site: Site,
        secrets: Secrets,
        owner_token: str,
        prepare: Prepare,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._links = links
        self._raw = raw
        self._site = site
        self._secrets = secrets
        self._expected = f"Bearer {owner_token}"
        self._prepare = prepare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await self._answer(request)).send(send)

    async def _answer(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), self._expected.encode()):
            return text_response("this takes the credential of the control plane's owner\n", 401)
        if request.method != "GET":
            return text_response("this only tells\n", 405)
        try:
            match request.path.strip("/").split("/"):
                case [_, run, action]:
                    return json_response(await self._document(ActionKey(run, action)))
                case [_, run, action, "files"]:
                    wanted = await self._order(self._ledger.action(ActionKey(run, action)))
                    return Response(content_type="application/x-tar", pieces=_in_threads(pieces(wanted.files)))
                case [_, run, action, "secrets"]:
                    task = self._ledger.action(ActionKey(run, action)).task
                    return json_response({"secrets": list(secret_names(task.task_template)) if task else []})
                case _:
                    return text_response("there is only /again/RUN/ACTION, its files and its secrets\n", 404)
        except UnknownError as error:
            return text_response(str(error.args[0]), 404)
        except (OrderError, NotRepeatableError, StartError) as error:
            return text_response(str(error), 409)

    async def _order(self, action: Action) -> Order:
        """The order of the attempt that can be made again, with outputs and credentials of its own."""
        attempt = _repeatable(action)
        place = replace(attempt, outputs=f"{attempt.outputs}-again-{secrets.token_hex(4)}")
        # The attempt's own credential counts while it is under way.
        passes = self._site.passes.lasting(int(time.time() + _LINK_SECONDS))
        run = self._ledger.run(action.key.run)
        return await self._raw.fill(
            order(run, action, place, replace(self._site, passes=passes), self._secrets), action
        )

    async def _document(self, key: ActionKey) -> dict[str, object]:
        action = self._ledger.action(key)
        wanted = await self._order(action)
        await self._prepare(wanted)
        assert action.task is not None  # noqa: S101 - it is repeatable
        arguments = list(wanted.arguments)
        code = error = None
        if not is_raw(action):
            code = bundle_of(action.task.task_template) if "--tgz" in arguments else None
            error = f"{arguments[arguments.index('--outputs-path') + 1]}/error.pb"
            arguments = without_code(arguments)
        return {
            "task": action.task_name,
            "attempt": len(action.attempts),
            "phase": action.phase.name,
            "image": wanted.image,
            "entrypoint": list(wanted.entrypoint),
            "arguments": arguments,
            "environment": dict(wanted.environment),
            "network": wanted.network,
            "limits": asdict(wanted.limits),
            "secret_files": sorted(wanted.secret_files),
            "inputs": await self._inputs(action),
            "has_files": bool(wanted.files),
            "code": self._links.make("GET", code, _LINK_SECONDS) if code else None,
            "error": self._links.make("GET", error, _LINK_SECONDS) if error else None,
        }

    async def _inputs(self, action: Action) -> Mapping[str, object]:
        from flyteidl2.task.common_pb2 import Inputs

        values = await read(self._store, action.input_uri, Inputs, _LARGEST_INPUTS)
        return values.items or {}


async def _in_threads(made: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What is read from files while it is sent."""
    while (piece := await asyncio.to_thread(next, made, None)) is not None:
        yield piece


def without_code(arguments: Sequence[str]) -> list[str]:
    """A command line of `a0` that takes the code as it lies in the working directory."""
    left = []
    options = iter(arguments)
    for item in options:
        if item in _CODE_OPTIONS:
            next(options, None)
        else:
            left.append(item)
    return left


def _repeatable(action: Action) -> Attempt:
    """The attempt that can be made again."""
    if action.task is None or action.last is None:
        name = action.kind.name.lower()
        what = f"is a {name}, which has no container" if action.task is None else "never had a container"
        raise NotRepeatableError(f"Action `{action.key.name}` of run `{action.key.run}` {what}")
    return action.last
