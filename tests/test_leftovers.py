"""What may be deleted: nothing that anybody needs, and nothing that is not ours."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from flytebuild.history import is_tag_of_ours, latest_tag
from flytebuild.leftovers import Leftover, Tagged, leftovers
from flytebuild.size import StoredLayer
from flytebuild.spec.digests import digests
from tests.samples import spec
from tests.test_plan import ABSENT, Plan, make_plan, named, node, target, variants

AMD64 = "linux/amd64"
KEPT = named(spec("ruff"), "flyte", "r.example")
OLD = f"r.example/flyte:b3-{'0' * 32}"


def plan() -> Plan:
    return make_plan((node("train"),), variants({"train": KEPT}), None, {target(KEPT): ABSENT})


def found(*items: tuple[str, str, bool, str]) -> list[tuple[str, ...]]:
    return [item.references for item in leftovers(plan(), [Tagged(*item) for item in items])]


def test_what_no_environment_reaches_is_left_over() -> None:
    old = "r.example/flyte:env-gone-linux-amd64"
    assert found(("r.example/flyte:b3-1", "sha256:1", True, AMD64), (old, "sha256:1", True, AMD64)) == [
        ("r.example/flyte:b3-1", old)
    ]


def test_what_is_needed_stays_with_all_its_tags() -> None:
    assert target(KEPT).endswith(digests(KEPT).tag)
    assert found((target(KEPT), "sha256:1", True, AMD64), (OLD, "sha256:1", True, AMD64)) == []


def test_the_last_image_of_an_environment_stays() -> None:
    latest = "r.example/flyte:env-train-linux-amd64"
    assert found((OLD, "sha256:1", True, AMD64), (latest, "sha256:1", True, AMD64)) == []


def test_somebody_else_s_tag_keeps_an_image() -> None:
    assert found((OLD, "sha256:1", True, AMD64), ("r.example/flyte:stable", "sha256:1", False, AMD64)) == []
    assert found(("r.example/flyte:b3-1", "sha256:1", False, AMD64)) == []


@pytest.mark.parametrize(
    ("environment", "platform"),
    [("train", AMD64), ("a.b_c", "linux/arm/v7"), ("of / signs", AMD64), ("long" * 40, AMD64), ("a/b", "linux/arm64")],
)
def test_tags_of_environments_are_ours(environment: str, platform: str) -> None:
    assert is_tag_of_ours(latest_tag(environment, platform))


@pytest.mark.parametrize("tag", ["env-prod", "env-prod-20261130", "env-linux", "stable", "b3-1", f"v-{'0' * 31}"])
def test_tags_of_others_are_not(tag: str) -> None:
    assert not is_tag_of_ours(tag)


def test_what_other_platforms_need_is_not_known() -> None:
    assert found((OLD, "sha256:1", True, "linux/arm64"), (f"{OLD}0", "sha256:2", True, "")) == []


def test_a_leftover_is_named_by_what_leads_there() -> None:
    (item,) = leftovers(plan(), [Tagged(OLD, "sha256:1", True, AMD64)])
    assert item == Leftover("sha256:1", (OLD,))


def test_a_leftover_has_its_age_and_what_no_image_has_that_stays() -> None:
    made = datetime(2026, 1, 2, tzinfo=timezone.utc)
    base, one, both = StoredLayer("base", 100), StoredLayer("one", 20), StoredLayer("both", 3)
    there = [
        Tagged(target(KEPT), "sha256:0", True, AMD64, layers=(base,)),
        Tagged(OLD, "sha256:1", True, AMD64, made, (base, one, both)),
        Tagged(f"{OLD}0", "sha256:2", True, AMD64, layers=(base, both)),
    ]
    first, second = leftovers(plan(), there)
    assert (first.made, first.size, first.own) == (made, 123, {"one": 20, "both": 3})
    assert (second.made, second.size, second.own) == (None, 103, {"both": 3})
