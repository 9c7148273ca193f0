"""The values of secrets that tasks may ask for: in memory, and nowhere else.

The control plane has an environment of its own, while a secret lies where its user's commands run. So these hand over
what the tasks ask for, before a run begins: `PUT /secrets` with a credential that only the owner of the data folder
can read. What was handed over last counts. With the control plane they are gone.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping

from flytebuild.runtime.http import BodyError, Receive, Request, Scope, Send, text_response
from flytebuild.secret_source import variable_of

LARGEST = 8 << 20
"""Bytes of all that is handed over at a time."""


class SecretBook:
    """What is known, by name; `my-group_key` and `MY_GROUP_KEY` are one."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def keep(self, values: Mapping[str, str]) -> None:
        """Take values, in place of earlier ones of these names."""
        self._values.update({variable_of(name): value for name, value in values.items()})

    def find(self, name: str) -> str | None:
        """A value, or None."""
        return self._values.get(variable_of(name))


class Handover:
    """The ASGI application that takes `{"NAME": "value", …}` from whoever knows `token`."""

    def __init__(self, book: SecretBook, token: str) -> None:
        self._book = book
        self._expected = f"Bearer {token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), self._expected.encode()):
            await text_response("this takes the credential of the control plane's owner\n", 401).send(send)
            return
        if request.method != "PUT":
            await text_response("secrets are only taken\n", 405).send(send)
            return
        try:
            values = json.loads(await request.body(LARGEST))
        except (BodyError, ValueError):
            # Nothing of the body is repeated.
            await text_response("this is no JSON object of a size that is taken\n", 400).send(send)
            return
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            await text_response("this is no JSON object of texts\n", 400).send(send)
            return
        self._book.keep(values)
        await text_response("", 204).send(send)
