"""The values of secrets that tasks may ask for: in memory, and nowhere else.

The control plane has an environment of its own, while a secret lies where its user's commands run. So these hand over
what the tasks ask for, before a run begins: `PUT /secrets` with a credential that only the owner of the data folder
can read: `{"values": {NAME: …}, "missing": {NAME: why}}`, answered with those of the missing that are not known from
before: `{"unknown": [NAME]}`. `flyte create secret` adds others. The value that came last counts. With the control
plane they are gone.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from flytebuild.runtime.http import BodyError, Receive, Request, Scope, Send, json_response, text_response
from flytebuild.runtime.model import now
from flytebuild.secret_source import variable_of
from flytebuild.task_secrets import TaskSecrets

LARGEST = 8 << 20
"""Bytes of all that is handed over at a time."""


@dataclass(frozen=True, slots=True)
class Known:
    """A secret that there is: the name that it was given last, and since when it has its value."""

    name: str
    since: datetime


class SecretBook:
    """What is known, by name; `my-group_key` and `MY_GROUP_KEY` are one."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._known: dict[str, Known] = {}
        self._missing: dict[str, str] = {}

    def keep(self, found: TaskSecrets) -> None:
        """Take values, in place of earlier ones of these names.

        One that is missing takes no earlier value away: attempts of another run may be about to need it.
        """
        for name, value in found.values.items():
            self.put(name, value)
        self._missing.update({variable_of(name): why for name, why in found.missing.items()})

    def put(self, name: str, value: str) -> None:
        """Take one value, in place of an earlier one."""
        variable = variable_of(name)
        self._values[variable] = value
        self._known[variable] = Known(name, now())

    def forget(self, name: str) -> None:
        """Let go of a value, if there is one."""
        self._values.pop(variable_of(name), None)
        self._known.pop(variable_of(name), None)

    def known(self, name: str) -> Known | None:
        """What may be told of a secret."""
        return self._known.get(variable_of(name))

    def __iter__(self) -> Iterator[Known]:
        """What may be told of all, by name."""
        return iter(sorted(self._known.values(), key=lambda known: known.name))

    def find(self, name: str) -> str:
        """A value. Raises LookupError that says why there is none and what to do."""
        variable = variable_of(name)
        if variable in self._values:
            return self._values[variable]
        unknown = (
            "it was not handed over since the control plane was started, which keeps secrets in memory only; give the "
            f"same command the variable `{variable}`, or `--secret {name}=…`"
        )
        raise LookupError(self._missing.get(variable, unknown))


class Handover:
    """The ASGI application that takes secrets from whoever knows `token`."""

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
            found = _read(await request.body(LARGEST))
        except (BodyError, ValueError):
            # Nothing of the body is repeated.
            await text_response("these are no secrets, or more than are taken\n", 400).send(send)
            return
        self._book.keep(found)
        unknown = [name for name in found.missing if not self._book.known(name)]
        await json_response({"unknown": unknown}).send(send)


def _read(body: bytes) -> TaskSecrets:
    """What a body says. Raises ValueError."""
    document = json.loads(body)
    if not isinstance(document, dict) or document.keys() != {"values", "missing"}:
        raise ValueError("not the two tables")
    for table in document.values():
        if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
            raise ValueError("not a table of texts")
    return TaskSecrets(document["values"], document["missing"])
