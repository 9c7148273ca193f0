"""The way in: which application answers a request, and who is asking, found out before anything else is read."""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.runtime.addresses import HOST_NAME
from flytebuild.runtime.bounds import bounded, is_longer
from flytebuild.runtime.callers import CALLER, Caller, Door, Guest, Owner
from flytebuild.runtime.http import Application, Receive, Response, Scope, Send, json_response, text_response
from flytebuild.runtime.passes import PREFIX

MAX_MESSAGE = 128 << 20
"""The largest message of Flyte's protocol that is read; inputs come inside messages."""

IS_OWNER = "is_owner"
"""What the state of a connection tells: whether the owner's process is at the other end."""

_SERVICES = "flyteidl2."
"""What the paths of Flyte's services begin with."""


class Dispatcher:
    """Chooses the application by the first part of the path, and asks who is there.

    `services` are for the owner and for containers, which come by paths of their own; `open_` applications look for
    credentials themselves; everything else is the owner's alone. A request must name this machine as its host:
    otherwise a web page could point a name of its own at the loopback address and speak to us through the user's
    browser.
    """

    def __init__(
        self,
        services: Mapping[str, Application],
        open_: Mapping[str, Application],
        own: Mapping[str, Application],
        pages: Application,
        door: Door,
    ) -> None:
        self._services = services
        self._open = open_
        self._own = own
        self._pages = pages
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").rpartition(":")[0]
        if not is_local_host(host):
            await text_response("this control plane is reached by a local address only\n", 421).send(send)
            return
        first, rest = _split(scope["path"])
        if first in self._open:
            await self._open[first](scope, receive, send)
            return
        caller: Caller | None = None
        if first == PREFIX:
            caller, rest = self._guest(rest)
            first, _ = _split(rest)
            scope = {**scope, "path": rest, "raw_path": rest.encode()}
        elif scope.get("state", {}).get(IS_OWNER) and host != HOST_NAME:
            caller = Owner()
        if caller is None or (isinstance(caller, Guest) and not first.startswith(_SERVICES)):
            await _refusal(first).send(send)
            return
        CALLER.set(caller)
        if not first.startswith(_SERVICES):
            await self._own.get(first, self._pages)(scope, receive, send)
        elif first not in self._services:
            await _not_implemented(first).send(send)
        elif is_longer(headers, MAX_MESSAGE):
            await text_response("the message is too large\n", 413).send(send)
        else:
            await self._services[first](scope, bounded(receive, MAX_MESSAGE), send)

    def _guest(self, path: str) -> tuple[Guest | None, str]:
        """The container that a path behind the prefix is of, and the path in the protocol."""
        parts = path.strip("/").split("/", 4)
        if len(parts) < 5:
            return None, "/"
        run, action, term, token, rest = parts
        return self._door.by_token(run, action, term, token), f"/{rest}"


def _split(path: str) -> tuple[str, str]:
    """The first part of a path, and what follows it."""
    first, _, rest = path.lstrip("/").partition("/")
    return first, f"/{rest}"


def _refusal(first: str) -> Response:
    """The answer to who has no business here, in the words of the protocol where it was asked in those."""
    message = (
        "this is for the user whose control plane it is, and for the containers of runs under way, each with its "
        "own credential"
    )
    if first.startswith(_SERVICES):
        return json_response({"code": "permission_denied", "message": message}, 403)
    return text_response(f"{message}\n", 403)


def _not_implemented(service: str) -> Response:
    """The protocol's word for a service that is not there, by which the `flyte` command explains itself."""
    message = f"the local control plane has no {service.rpartition('.')[2]}"
    return json_response({"code": "unimplemented", "message": message}, 501)


def is_local_host(host: str) -> bool:
    """Whether a host is a literal address or a name that only this machine and its containers use."""
    is_literal = host.startswith("[") or all(part.isdigit() for part in host.split("."))
    return is_literal or host in ("localhost", "host.docker.internal")
