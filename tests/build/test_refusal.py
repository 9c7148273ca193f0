"""What to do about a registry that refuses."""

import pytest

from flytebuild.build.refusal import unavailable
from flytebuild.plan.unknown import CHECK_REGISTRY
from flytebuild.registry.client import Refused
from flytebuild.registry.reference import parse


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (None, CHECK_REGISTRY),
        (401, "`docker login r.example` as somebody who may do that"),
        (403, "`docker login r.example` as somebody who may do that"),
        (500, ""),
    ],
)
def test_the_hint_is_about_what_is_wrong(status: int | None, hint: str) -> None:
    error = unavailable("The tags cannot be listed", parse("r.example/a:1"), Refused("no", status=status))
    assert (error.message, error.exit_code) == ("The tags cannot be listed: no", 69)
    assert (error.hint or "").startswith(hint)
    assert bool(error.hint) == bool(hint)
