"""Servers of wheels: what is asked again, and what is not."""

from __future__ import annotations

import httpx
import pytest

from flytebuild.wheels import servers
from flytebuild.wheels.servers import Servers


class Failing:
    """Fails so many times, and then answers."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.asked = error, times, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked <= self.left:
            raise self.error
        return httpx.Response(200, text=request.headers.get("range", "all"))

    def servers(self) -> Servers:
        return Servers(httpx.Client(transport=httpx.MockTransport(self)))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_connection_that_is_not_made_is_tried_again(times: int) -> None:
    failing = Failing(httpx.ConnectError("tlsv1 alert decode error"), times)
    asked = failing.servers()
    assert asked.get("https://x/a.whl").text == "all"
    assert failing.asked == times + 1
    with asked.part("https://x/a.whl", "-5") as answer:
        assert answer.read() == b"bytes=-5"


def test_one_that_is_never_made_is_an_error() -> None:
    failing = Failing(httpx.ConnectError("refused"), 9)
    with pytest.raises(httpx.ConnectError, match="refused"):
        failing.servers().get("https://x/a.whl")
    assert failing.asked == 3


def test_a_host_that_does_not_answer_in_time_is_not_asked_again() -> None:
    failing = Failing(httpx.ReadTimeout("60 s"), 9)
    asked = failing.servers()
    for _ in range(2):
        with pytest.raises(httpx.TimeoutException):
            asked.get("https://x/a.whl")
    assert (failing.asked, asked.silent) == (1, {"x"})
