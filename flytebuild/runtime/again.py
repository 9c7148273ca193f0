"""What it takes to run an action again by hand: its image, command, variables, inputs, code, told to the owner.

The command is the attempt's own but for two things. The code is not fetched, so that what is changed in place counts;
and outputs go to a place of their own, so that the attempt's stay. As the action keeps its name, tasks that it calls
with the same inputs answer with what they have returned or raised already.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from flytebuild.runtime.actions import Ledger, UnknownError
from flytebuild.runtime.container import OrderError, Secrets, Site, order
from flytebuild.runtime.http import Receive, Request, Response, Scope, Send, json_response, text_response
from flytebuild.runtime.model import Action, ActionKey, Attempt
from flytebuild.runtime.raw_container import is_raw
from flytebuild.runtime.services.bundle import bundle_of
from flytebuild.runtime.storage import ObjectStore
from flytebuild.runtime.transfer import Links
from flytebuild.runtime.web.values import read

_LINK_SECONDS = 12 * 3600.0
"""A shell may be open for long before its command is run."""

_LARGEST_INPUTS = 8 << 20
_CODE_OPTIONS = ("--tgz", "--dest")


class NotRepeatableError(Exception):
    """Raised for an action that has nothing to run again; the message is a sentence."""


class Again:
    """The ASGI application that answers `GET /again/RUN/ACTION` to whoever knows the owner's token."""

    def __init__(
        self, ledger: Ledger, store: ObjectStore, links: Links, site: Site, secrets: Secrets, owner_token: str
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._links = links
        self._site = site
        self._secrets = secrets
        self._expected = f"Bearer {owner_token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await self._answer(request)).send(send)

    async def _answer(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), self._expected.encode()):
            return text_response("this takes the credential of the control plane's owner\n", 401)
        parts = request.path.strip("/").split("/")
        if request.method != "GET" or len(parts) != 3:
            return text_response("there is only GET /again/RUN/ACTION\n", 404)
        try:
            return json_response(await self._document(ActionKey(parts[1], parts[2])))
        except UnknownError as error:
            return text_response(str(error.args[0]), 404)
        except (OrderError, NotRepeatableError) as error:
            return text_response(str(error), 409)

    async def _document(self, key: ActionKey) -> dict[str, object]:
        action = self._ledger.action(key)
        attempt = _repeatable(action)
        run = self._ledger.run(key.run)
        place = replace(attempt, outputs=f"{attempt.outputs}-again-{secrets.token_hex(4)}")
        # The attempt's own credential counts while it is under way.
        passes = self._site.passes.lasting(int(time.time() + _LINK_SECONDS))
        wanted = order(run, action, place, replace(self._site, passes=passes), self._secrets)
        assert action.task is not None  # noqa: S101 - it is repeatable
        bundle = bundle_of(action.task.task_template) if "--tgz" in wanted.arguments else ""
        return {
            "task": action.task_name,
            "attempt": attempt.number,
            "phase": action.phase.name,
            "image": wanted.image,
            "command": [*wanted.entrypoint, *without_code(wanted.arguments)],
            "environment": dict(wanted.environment),
            "hosts": dict(wanted.hosts),
            "limits": asdict(wanted.limits),
            "secret_files": sorted(wanted.secret_files),
            "inputs": await self._inputs(action),
            "code": self._links.make("GET", bundle, _LINK_SECONDS) if bundle else None,
            "error": self._links.make("GET", f"{place.outputs}/error.pb", _LINK_SECONDS),
        }

    async def _inputs(self, action: Action) -> Mapping[str, object]:
        from flyteidl2.task.common_pb2 import Inputs

        values = await read(self._store, action.input_uri, Inputs, _LARGEST_INPUTS)
        return values.items or {}


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
    if is_raw(action):
        raise NotRepeatableError(
            f"Task `{action.task_name}` is a container without Flyte, whose inputs are put into it from outside"
        )
    return action.last
