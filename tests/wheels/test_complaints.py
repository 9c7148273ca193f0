"""What is made of uv's complaints; the texts are what uv writes."""

from __future__ import annotations

import pytest

from flytebuild.errors import UnavailableError
from flytebuild.wheels.complaints import failure

_RETRIED = "error: Request failed after {} in {}\n  cause: "
_FETCHING = (
    "Failed to fetch: http://i.example/simple/six/\n"
    "  cause: error sending request for url (http://i.example/simple/six/)\n  cause: "
)


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        (
            _RETRIED.format("3 retries", "128.4s") + _FETCHING + "operation timed out",
            "`http://i.example/simple/six/` did not answer in time, and uv gave up after 128.4s",
        ),
        (
            _RETRIED.format("1 retry", "3.1s") + _FETCHING + "operation timed out",
            "`http://i.example/simple/six/` did not answer in time, and uv gave up after 3.1s",
        ),
        (f"error: {_FETCHING}operation timed out", "`http://i.example/simple/six/` did not answer in time"),
        (f"error: {_FETCHING}tcp connect error", "`http://i.example/simple/six/` cannot be reached"),
        ("error: dns error", "uv cannot reach a package index"),
    ],
)
def test_an_index_that_does_not_answer_is_another_one_than_one_that_is_not_reached(complaint: str, words: str) -> None:
    found = failure(complaint, 2)
    assert isinstance(found, UnavailableError)
    assert (found.message, found.details) == (words, complaint)
    assert ("UV_HTTP_TIMEOUT" in found.hint) is ("in time" in words)
