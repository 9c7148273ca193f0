"""A saved plan holds, or the difference is told."""

import json

import pytest
from msgspec.structs import replace

from flytebuild.errors import DriftError, UsageError
from flytebuild.facts import Absent
from flytebuild.plan import Observation, Plan, make_plan, references
from flytebuild.saved_plan import drift, refuse_drift, restore, save
from flytebuild.spec.images import Platform
from flytebuild.spec.model import ImageSpec, SetEnv, SetLabels, Setting
from tests.samples import AMD64, ARM64, BASE, made_of, pip, spec
from tests.test_plan import NODES, node, present, target, variants

SPECS = {"fold": spec("ruff"), "msa": spec("pytest"), "main": spec("ruff", "pytest")}


def plan_of(specs: dict[str, ImageSpec], *there: str, registry: str | None = None) -> Plan:
    observations = {
        target(item, registry): present(item) if name in there else Observation(Absent())
        for name, item in specs.items()
    }
    return make_plan([node for node in NODES if node.name in specs], variants(specs), registry, observations)


def saved_from(planned: Plan) -> object:
    return json.loads(json.dumps(save(planned, ["main.py"], ["main"], None, (), "off", "other.lock")))


def differences(before: Plan, now: Plan) -> list[str]:
    return list(drift(restore(saved_from(before), "plan.json"), now))


def test_what_was_asked_comes_back() -> None:
    found = restore(saved_from(plan_of(SPECS)), "plan.json")
    assert (found.paths, found.targets, found.registry, found.platforms) == (("main.py",), ("main",), None, ())
    assert (found.wheel_layers, found.lock) == ("off", "other.lock")


@pytest.mark.parametrize("name", ["wheel_layers", "lock"])
def test_a_plan_of_an_earlier_version_says_nothing_of_what_came_later(name: str) -> None:
    document = saved_from(plan_of(SPECS))
    assert isinstance(document, dict)
    del document[name]
    assert getattr(restore(document, "plan.json"), name) is None


def test_the_same_plan_holds() -> None:
    assert differences(plan_of(SPECS, "msa"), plan_of(SPECS, "msa")) == []


def test_what_was_built_in_the_meantime_is_no_drift() -> None:
    assert differences(plan_of(SPECS), plan_of(SPECS, "fold", "msa")) == []


def test_what_was_there_and_is_gone_is_told() -> None:
    assert differences(plan_of(SPECS, "msa"), plan_of(SPECS)) == [
        "the image of `msa` was there: not in the engine's store"
    ]


def test_environments_that_come_and_go_are_told() -> None:
    few = {name: SPECS[name] for name in ("fold", "main")}
    assert differences(plan_of(few), plan_of(SPECS)) == ["environment `msa` is needed now"]
    assert differences(plan_of(SPECS), plan_of(few)) == ["environment `msa` is not needed any more"]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (spec("ruff==0.5"), "`pip: ruff` became `pip: ruff==0.5`"),
        (spec("ruff", "six"), "`pip: six` was added"),
        (spec(), "`pip: ruff` is not in it any more"),
        (spec("ruff", name="other"), "published as flytebuild.local/other:"),
    ],
)
def test_an_image_that_is_another_one_is_told_with_what_differs(other: ImageSpec, what: str) -> None:
    (line,) = differences(plan_of({"fold": SPECS["fold"]}), plan_of({"fold": other}))
    assert line.startswith(f"the image of `fold` is another one: {what}")


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        (SetEnv((("A", "2"),)), "variable `A` changed"),
        (SetEnv((("A", "1"), ("B", "s3cr3t"))), "variable `B` is new"),
        (SetLabels((("team", "a"),)), "variable `A` is gone, `labels` is new"),
    ],
)
@pytest.mark.parametrize("is_seen", [False, True])
def test_settings_that_differ_are_told_by_their_names(setting: Setting, what: str, is_seen: bool) -> None:
    """Whether a step has seen them or not, whose layer is another one then."""

    def image(own: Setting) -> Plan:
        return plan_of({"fold": made_of(own, pip("ruff")) if is_seen else made_of(pip("ruff"), own)})

    before = image(SetEnv((("A", "1"),)))
    assert differences(before, image(setting)) == [f"the image of `fold` is another one: {what}"]
    assert "s3cr3t" not in json.dumps(saved_from(image(setting)))
    # A plan of an earlier version does not know them.
    document = saved_from(before)
    assert isinstance(document, dict)
    del document["configs"]
    told = "`pip: ruff` is not the same any more" if is_seen else "it has other settings"
    (line,) = drift(restore(document, "plan.json"), image(setting))
    assert line.endswith(told)


def test_of_an_image_for_several_platforms_it_is_told_what_differs_in_one() -> None:
    def both(*packages: str, platforms: tuple[Platform, ...] = (AMD64, ARM64)) -> Plan:
        specs = {platform: made_of(*map(pip, packages), platform=platform) for platform in platforms}
        asked = dict.fromkeys(references(specs, "r.example"), Observation(Absent()))
        return make_plan((node("x"),), {"x": specs}, "r.example", asked)

    told = "the image of `x` is another one: "
    assert differences(both("ruff"), both("ruff")) == []
    assert differences(both("ruff"), both("ruff", "six")) == [f"{told}`pip: six` was added"]
    assert differences(both("ruff", platforms=(AMD64,)), both("ruff")) == [
        f"{told}for linux/amd64, linux/arm64, planned for linux/amd64"
    ]


def test_a_base_that_moved_is_told() -> None:
    moved = spec("ruff", base=replace(BASE, digest="sha256:" + "3" * 64))
    (line,) = differences(plan_of({"fold": SPECS["fold"]}), plan_of({"fold": moved}))
    assert "@ sha256:111111111111` became `base " in line
    assert "@ sha256:333333333333`" in line


def test_drift_is_an_error_that_counts_and_tells() -> None:
    kept = restore(saved_from(plan_of(SPECS, "msa")), "plan.json")
    with pytest.raises(DriftError, match=r"`plan\.json` does not hold any more: one thing has changed") as caught:
        refuse_drift(kept, plan_of(SPECS), "plan.json")
    assert caught.value.differences == ("the image of `msa` was there: not in the engine's store",)
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("document", [None, [], {}, {"schema": "flytebuild.plan/1"}])
def test_what_is_no_saved_plan_is_refused(document: object) -> None:
    with pytest.raises(UsageError, match=r"`x\.json` is not a saved plan of this version"):
        restore(document, "x.json")


@pytest.mark.parametrize("damage", [{"targets": None}, {"configs": ["A"]}, {"configs": {"r.example/x:1": "A"}}])
def test_a_damaged_one_is_refused(damage: dict[str, object]) -> None:
    document = saved_from(plan_of(SPECS))
    assert isinstance(document, dict)
    with pytest.raises(UsageError, match=r"`x\.json` is damaged"):
        restore({**document, **damage}, "x.json")
