"""Environments that had no image before, and those that had one for another platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytebuild import history
from flytebuild.facts import Absent, Unknown
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Observation, Plan, make_plan, references
from flytebuild.spec.digests import digests
from flytebuild.state import EnvironmentRecord, State
from tests.samples import AMD64, definition, spec
from tests.test_plan import present

SPEC = spec("ruff")
PLACE = "/src/train.py"
REGISTRY = "r.example/acme"


def planned(registry: str | None) -> tuple[Plan, str]:
    """A plan of one environment whose image is missing, and the image's reference."""
    node, variants = EnvironmentNode("train", PLACE, (), (), definition()), {AMD64: SPEC}
    (reference,) = references(variants, registry)
    return make_plan([node], {"train": variants}, registry, {reference: Observation(Absent())}), reference


@pytest.mark.parametrize("registry", [None, REGISTRY])
def test_what_the_state_knows_of_other_platforms(tmp_path: Path, registry: str | None) -> None:
    plan, reference = planned(registry)
    questions = history.asked(plan, {})
    others = history.asked_of_others(plan, questions)
    seen = {name: Observation(Absent()) for names in (*questions.values(), *others.values()) for name in names}
    with State.open(tmp_path / "state.sqlite") as state:
        assert history.firsts(plan, questions, others, seen, state) == {reference: False}
        state.record_environments([EnvironmentRecord("train", PLACE, "linux/arm64", "1" * 64, "{}")])
        assert state.platforms("train", PLACE) == ("linux/arm64",)
        assert history.firsts(plan, questions, others, seen, state) == {reference: True}
        state.record_environments([EnvironmentRecord("train", "/elsewhere.py", "linux/s390x", "1" * 64, "{}")])
        assert state.platforms("train", PLACE) == ("linux/arm64",)


def test_what_a_registry_knows_of_other_platforms(tmp_path: Path) -> None:
    plan, reference = planned(REGISTRY)
    questions = history.asked(plan, {})
    others = history.asked_of_others(plan, questions)
    repository = reference.rpartition(":")[0]
    mine, other = f"{repository}:env-train-linux-amd64", f"{repository}:env-train-linux-arm64"
    assert (questions, others) == ({reference: (mine,)}, {reference: (other,)})
    absent, there = Observation(Absent()), present(SPEC)
    with State.open(tmp_path / "state.sqlite") as state:
        for seen, found in (
            ({mine: absent, other: there}, {reference: True}),
            ({mine: absent, other: absent}, {reference: False}),
            ({mine: absent, other: Observation(Unknown("x"))}, {reference: False}),
            ({mine: absent}, {reference: False}),
            ({mine: Observation(Unknown("x")), other: there}, {}),
            ({}, {}),
        ):
            assert history.firsts(plan, questions, others, seen, state) == found
    assert digests(SPEC).tag in reference
