"""Which orders may share a container: everything must agree that a container has from its start on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.archives import Entry
from flytebuild.runtime.container import SECRETS_FOLDER, Limits, Order
from flytebuild.runtime.reuse import Reuse
from flytebuild.runtime.warm.kind import kind, warm_order

ORDER = Order(
    image="image:1",
    entrypoint=(),
    arguments=("a0", "--inputs", "s3://x"),
    environment={"MODE": "fast", "ACTION_NAME": "a0", "TOKEN": "of-the-run"},
    labels={f"{LABEL}.home": "/data", f"{LABEL}.run": "r1", f"{LABEL}.action": "a0", f"{LABEL}.attempt": "1"},
    limits=Limits(memory=1 << 30),
    secret_files={"group/key": "hidden"},
    own=frozenset({"ACTION_NAME", "TOKEN"}),
    reuse=Reuse("env"),
)


def test_what_is_an_attempt_s_own_makes_no_difference() -> None:
    other = replace(
        ORDER,
        arguments=("a0", "--inputs", "s3://y"),
        environment={"MODE": "fast", "ACTION_NAME": "b7", "TOKEN": "of-another"},
        labels={},
    )
    assert kind(ORDER) == kind(other)


@pytest.mark.parametrize(
    "different",
    [
        {"image": "image:2"},
        {"limits": Limits(memory=2 << 30)},
        {"environment": {**ORDER.environment, "SECRET": "another environment's"}},
        {"secret_files": {}},
        {"secret_files": {"group/key": "changed"}},
        {"reuse": Reuse("other_env")},
    ],
)
def test_all_else_does(different: dict[str, object]) -> None:
    assert kind(ORDER) != kind(replace(ORDER, **different))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "alone",
    [
        {"reuse": None},
        {"arguments": ("python", "main.py")},
        {"entrypoint": ("sh", "-c")},
        {"files": (Entry("var/inputs", None, 0o755),)},
    ],
)
def test_some_want_a_container_of_their_own(alone: dict[str, object]) -> None:
    assert kind(replace(ORDER, **alone)) is None  # type: ignore[arg-type]


def test_the_container_has_nothing_of_the_attempt_that_it_is_started_for() -> None:
    wanted = kind(ORDER)
    assert wanted is not None
    found = warm_order(ORDER, wanted, 30)
    assert found.environment == {"MODE": "fast"}
    assert found.labels == {f"{LABEL}.home": "/data", f"{LABEL}.worker": "1"}
    assert found.arguments[-2:] == ("30", SECRETS_FOLDER)
    assert found.takes_input
    # Neither does it show a secret where somebody looks at it.
    assert "hidden" not in repr(wanted) + repr(found)
