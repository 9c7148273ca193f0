"""What people see of what is left over."""

import pytest

from flytebuild.cli.prune import lines

NOTHING = "Nothing is left over"


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (None, [NOTHING]),
        (30, ["cache: nothing that no environment here reaches is older than 30 days", NOTHING]),
        (1, ["cache: nothing that no environment here reaches is older than 1 day", NOTHING]),
        (0, ["cache: nothing that no environment here reaches", NOTHING]),
    ],
)
def test_a_cache_that_was_looked_at_and_has_nothing_old_enough(days: int | None, told: list[str]) -> None:
    assert [line.plain for line in lines((), (), are_gone=False, days=days)] == told
