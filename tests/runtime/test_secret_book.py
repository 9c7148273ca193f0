"""Secrets of tasks: who may hand them over, and who is given which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from flyteidl2.core.security_pb2 import Secret

from flytebuild.runtime.container import OrderError, SecretUnknownError, secret_files, secret_variables
from flytebuild.runtime.http import Message
from flytebuild.runtime.secret_book import LARGEST, Handover, SecretBook
from flytebuild.task_secrets import TaskSecrets
from tests.runtime import samples

TOKEN = "the owner's"


def put(book: SecretBook, body: bytes, token: str = TOKEN, method: str = "PUT") -> tuple[int, bytes]:
    """The status and the words of one request."""
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": method, "path": "/secrets", "headers": headers}
    asyncio.run(Handover(book, TOKEN)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def document(values: Mapping[str, object], missing: Mapping[str, object] = MappingProxyType({})) -> bytes:
    return json.dumps({"values": dict(values), "missing": dict(missing)}).encode()


def test_what_is_handed_over_last_counts() -> None:
    book = SecretBook()
    assert put(book, document({"my-group_key": "one", "B": "two"})) == (200, b'{"unknown": []}')
    again = put(book, document({"MY_GROUP_KEY": "three"}, {"B": "the variable `B` is not set", "c": "there is none"}))
    assert (again[0], json.loads(again[1])) == (200, {"unknown": ["c"]}), "what is known from before counts"
    assert (book.find("my-group_key"), book.find("B")) == ("three", "two")


def test_of_one_that_is_missing_it_is_known_why() -> None:
    book = SecretBook()
    with pytest.raises(LookupError, match="was not handed over since the control plane was started"):
        book.find("my-key")
    assert put(book, document({}, {"my-key": "`x` cannot be read"}))[0] == 200
    with pytest.raises(LookupError, match="`x` cannot be read"):
        book.find("my-key")
    assert put(book, document({"my-key": "a"}))[0] == 200
    assert book.find("my-key") == "a"


@pytest.mark.parametrize(
    ("body", "token", "method", "status"),
    [
        (document({"A": "x"}), "another", "PUT", 401),
        (document({"A": "x"}), TOKEN, "GET", 405),
        (b'{"values": {"A": "hidden', TOKEN, "PUT", 400),
        (document({"A": 1}), TOKEN, "PUT", 400),
        (document({"A": "hidden"}, {"B": None}), TOKEN, "PUT", 400),
        (b'{"values": "hidden", "missing": {}}', TOKEN, "PUT", 400),
        (b'{"A": "hidden"}', TOKEN, "PUT", 400),
        (b'["hidden"]', TOKEN, "PUT", 400),
        (document({"A": "x" * LARGEST}), TOKEN, "PUT", 400),
    ],
)
def test_everything_else_is_refused_and_not_repeated(body: bytes, token: str, method: str, status: int) -> None:
    book = SecretBook()
    found, said = put(book, body, token, method)
    assert found == status
    assert b"hidden" not in said
    with pytest.raises(LookupError):
        book.find("A")


def asking(*secrets: Secret) -> Any:
    spec = samples.task_spec()
    spec.task_template.security_context.secrets.extend(secrets)
    return spec.task_template


def test_a_task_gets_what_it_asks_for_and_nothing_else() -> None:
    book = SecretBook()
    book.keep(TaskSecrets({"HF_TOKEN": "h", "OTHER": "o", "TEAM_KEY": "t"}))
    template = asking(Secret(key="hf-token", env_var="HF"), Secret(group="team", key="key", env_var="TEAM_KEY"))
    assert secret_variables(template, book.find) == {"HF": "h", "TEAM_KEY": "t"}


def test_without_a_variable_it_is_a_file() -> None:
    book = SecretBook()
    book.keep(TaskSecrets({"TEAM_MY_KEY": "t", "TOKEN": "x", "HF": "h"}))
    template = asking(Secret(group="team", key="my-key"), Secret(key="token"), Secret(key="hf", env_var="HF"))
    assert secret_files(template, book.find) == {"team/my-key": "t", "token": "x"}
    assert secret_variables(template, book.find) == {"HF": "h"}


@pytest.mark.parametrize(
    "secret", [Secret(key=".."), Secret(key="a/b"), Secret(group="..", key="a"), Secret(key="a b")]
)
def test_a_file_stays_in_its_folder(secret: Secret) -> None:
    book = SecretBook()
    book.keep(TaskSecrets({secret.key: "x", f"{secret.group}_{secret.key}": "x"}))
    with pytest.raises(OrderError, match="names no file"):
        secret_files(asking(secret), book.find)


def test_one_that_nobody_has_is_named_with_what_to_do() -> None:
    with pytest.raises(SecretUnknownError, match=r"`team_my-key`.* the variable `TEAM_MY_KEY`, or"):
        secret_variables(asking(Secret(group="team", key="my-key", env_var="X")), SecretBook().find)
    assert issubclass(SecretUnknownError, OrderError)
