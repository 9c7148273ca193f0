"""Specs and facts become a plan."""

import json

import pytest
from msgspec.structs import replace

from flytebuild.facts import Absent, Fact, Present, Unknown
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Observation, Plan, Variants, make_plan, reference, references
from flytebuild.plan.document import to_document
from flytebuild.spec.composition import composition
from flytebuild.spec.digests import digests
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from flytebuild.spec.model import ExternalImage, ImageSpec
from flytebuild.why import Earlier
from tests.samples import AMD64, ARM64, BASE, UV, definition, made_of, pip, spec

SPECS = {"fold": spec("ruff"), "msa": spec("pytest"), "main": spec("ruff", "pytest")}
ABSENT = Observation(Absent())


def node(name: str, *depends_on: str) -> EnvironmentNode:
    return EnvironmentNode(name, f"/src/{name}.py", depends_on, (f"{name}.run",), definition())


NODES = (node("fold"), node("msa"), node("main", "fold", "msa"))


def target(item: ImageSpec, registry: str | None = None) -> str:
    return reference(item, digests(item).tag, registry)


def present(item: ImageSpec) -> Observation:
    return Observation(Present("sha256:1"), frozenset(digests(item).layers), digests(item).image)


def variants(specs: dict[str, ImageSpec]) -> dict[str, Variants]:
    return {name: {AMD64: item} for name, item in specs.items()}


def plan(observations: dict[str, Observation]) -> Plan:
    default = {target(item): ABSENT for item in SPECS.values()}
    return make_plan(NODES, variants(SPECS), None, {**default, **observations})


def statuses(planned: Plan) -> dict[str, tuple[str, list[str]]]:
    return {
        ",".join(image.environments): (image.status, [layer.status for layer in image.layers])
        for image in planned.images
    }


def test_nothing_is_there() -> None:
    planned = plan({})
    assert [image.status for image in planned.images] == ["missing"] * 3
    assert planned.to_build == planned.images
    assert {image.reason for image in planned.images} == {"not in the engine's store"}
    assert [layer.status for layer in planned.images[0].layers] == ["present", "missing", "missing", "missing"]


def test_what_is_there_is_not_built_and_its_layers_count_for_others() -> None:
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    assert statuses(planned)["fold"] == ("present", ["present"] * 4)
    assert statuses(planned)["main"] == ("missing", ["present"] * 4 + ["missing"])
    assert [image.environments for image in planned.to_build] == [("msa",), ("main",)]
    main = planned.images[2]
    assert main.layers[-1].reason == "no image that is present has it"


def test_layers_above_a_missing_one_say_so() -> None:
    planned = plan({})
    reasons = [layer.reason for layer in planned.images[2].layers]
    assert reasons == ["", "no image that is present has it"] + ["a layer below it is missing"] * 3


@pytest.mark.parametrize("fact", [Unknown("`r` does not answer")])
def test_unknown_is_built_never_taken_for_present(fact: Fact) -> None:
    planned = plan({target(SPECS["msa"]): Observation(fact)})
    image = planned.images[1]
    assert (image.status, image.reason, image.must_be_built) == ("unknown", "`r` does not answer", True)


def test_a_registry_that_cannot_be_connected_to_is_remembered() -> None:
    reference_ = target(SPECS["msa"])
    assert plan({reference_: Observation(Unknown("`r` does not answer", is_unreachable=True))}).unreachable == {
        reference_
    }
    assert plan({reference_: Observation(Unknown("`r` refuses access"))}).unreachable == frozenset()


def test_a_tag_alone_proves_nothing() -> None:
    other = Observation(Present("sha256:1"), frozenset(), digests(SPECS["fold"]).image)
    image = plan({target(SPECS["msa"]): other}).images[1]
    assert (image.status, image.must_be_built) == ("unknown", True)


def test_an_unresolved_base_makes_the_image_unknown_whatever_the_store_says() -> None:
    unresolved = spec("ruff", base=ResolvedImage("a:1", "a:1", problem="`a` does not answer"))
    planned = make_plan((node("x"),), variants({"x": unresolved}), None, {target(unresolved): present(unresolved)})
    image = planned.images[0]
    assert (image.status, image.reason) == ("unknown", "`a` does not answer")
    assert [layer.status for layer in image.layers] == ["unknown"] * 4


def test_equal_images_are_one_image() -> None:
    nodes = (node("a"), node("b"))
    same = spec("ruff")
    planned = make_plan(nodes, variants({"a": same, "b": same}), None, {target(same): ABSENT})
    assert [image.environments for image in planned.images] == [("a", "b")]


def test_external_images_are_named_and_left_alone() -> None:
    external = EnvironmentNode("x", None, (), (), ExternalImage("python:3.11"))
    planned = make_plan((external,), {}, None, {})
    assert (planned.images[0].status, planned.to_build) == ("external", ())
    assert planned.reference_of("x") == "python:3.11"


def test_where_an_image_is_published() -> None:
    tag = digests(SPECS["fold"]).tag
    assert target(SPECS["fold"]) == f"flytebuild.local/flyte:{tag}"
    assert target(SPECS["fold"], "r.example/team") == f"r.example/team/flyte:{tag}"
    assert target(spec("ruff", registry="own.example"), "r.example") == f"own.example/flyte:{tag}"


def test_the_document() -> None:
    document = to_document(plan({target(SPECS["fold"]): present(SPECS["fold"])}))
    assert json.loads(json.dumps(document)) == document
    assert document["schema"] == "flytebuild.plan/1"
    assert document["environments"][2] == {
        "name": "main",
        "file": "/src/main.py",
        "image": target(SPECS["main"]),
        "depends_on": ["fold", "msa"],
        "tasks": ["main.run"],
    }
    fold, msa, main = document["images"]
    assert {key: fold[key] for key in ("digest", "status", "environments", "platforms")} == {
        "digest": digests(SPECS["fold"]).image,
        "status": "present",
        "environments": ["fold"],
        "platforms": [str(AMD64)],
    }
    assert set(fold["layers"][0]) == {
        "kind",
        "digest",
        "summary",
        "status",
        "reason",
        "wheel_layers",
        "obstacle",
    }
    assert [layer["digest"] for layer in fold["layers"]] == [layer["digest"] for layer in main["layers"][:4]]
    assert [layer["kind"] for layer in main["layers"]] == ["base", "uv", "venv", "pip", "pip"]
    assert document["to_build"] == [msa["reference"], main["reference"]]
    assert BASE.digest is not None
    assert BASE.digest[:19] in fold["layers"][0]["summary"]
    assert UV.reference in fold["layers"][1]["summary"]


TWO = {AMD64: made_of(pip("ruff")), ARM64: made_of(pip("ruff"), platform=ARM64)}


def two(observations: dict[str, Observation]) -> Plan:
    default = dict.fromkeys(references(TWO, "r.example"), ABSENT)
    return make_plan((node("x"),), {"x": TWO}, "r.example", {**default, **observations})


def test_several_platforms_are_an_index_of_images() -> None:
    planned = two({})
    amd64, arm64, index = planned.images
    assert [item.platforms for item in planned.images] == [(AMD64,), (ARM64,), (AMD64, ARM64)]
    assert index.members == ((AMD64, amd64.reference), (ARM64, arm64.reference))
    assert planned.reference_of("x") == index.reference
    assert len({item.reference for item in planned.images}) == 3
    assert planned.to_build == planned.images
    assert amd64.reference == target(TWO[AMD64], "r.example")


def test_what_is_there_of_an_index_is_not_built_again() -> None:
    amd64, _, index = two({}).images
    planned = two({amd64.reference: present(TWO[AMD64])})
    assert [item.status for item in planned.images] == ["present", "missing", "missing"]
    whole = Observation(Present("sha256:1"), image=index.digest or "")
    assert two({index.reference: whole}).images[2].status == "present"
    other = Observation(Present("sha256:1"), image="something else")
    assert two({index.reference: other}).images[2].status == "unknown"


def named(item: ImageSpec, name: str, registry: str | None = None) -> ImageSpec:
    return replace(item, name=name, registry=registry)


def copies(
    specs: dict[str, ImageSpec], there: dict[str, ImageSpec], elsewhere: dict[str, ImageSpec] | None = None
) -> dict[str, str | None]:
    """Where each environment's image is copied from; in what is `there`, by environment, it is seen to be present."""
    observations = {target(item): ABSENT for item in specs.values()}
    observations |= {target(specs[name]): present(item) for name, item in there.items()}
    others = {target: present(item) for target, item in (elsewhere or {}).items()}
    planned = make_plan(tuple(map(node, specs)), variants(specs), None, observations, others)
    assert {image.reference for image in planned.to_copy}.isdisjoint(image.reference for image in planned.to_build)
    return {name: image.copied_from for image in planned.images for name in image.environments}


def test_an_image_that_is_there_under_another_name_is_not_built() -> None:
    one, two = named(spec("ruff"), "one", "r.example"), named(spec("ruff"), "two", "r.example")
    assert copies({"a": one, "b": two}, {"b": two}) == {"a": target(two), "b": None}
    tag = digests(one).tag
    assert copies({"a": one}, {}, {f"r.example/x:{tag}": one}) == {"a": f"r.example/x:{tag}"}
    # What is behind such a tag may be another image tomorrow.
    assert copies({"a": one}, {}, {"r.example/x:env-a-linux-amd64": one}) == {"a": None}


def test_one_of_two_names_is_built_and_the_other_follows() -> None:
    one, two = named(spec("ruff"), "one", "r.example"), named(spec("ruff"), "two", "r.example")
    assert copies({"a": one, "b": two}, {}) == {"a": None, "b": target(one)}
    planned = make_plan(
        (node("a"), node("b")), variants({"a": one, "b": two}), None, {target(one): ABSENT, target(two): ABSENT}
    )
    assert ([image.reference for image in planned.to_build], planned.is_fulfilled) == ([target(one)], False)
    document = to_document(planned)
    assert (document["to_build"], document["to_copy"]) == ([target(one)], [target(two)])
    assert document["images"][1]["copied_from"] == target(one)


def test_a_copy_comes_from_the_same_registry_if_it_can_and_never_from_another_kind_of_store() -> None:
    one = named(spec("ruff"), "one", "r.example")
    here, there, engine = (f"{host}/x:{digests(one).tag}" for host in ("r.example", "q.example", "flytebuild.local"))
    assert copies({"a": one}, {}, {there: one, here: one}) == {"a": here}
    assert copies({"a": one}, {}, {there: one}) == {"a": there}
    assert copies({"a": one}, {}, {engine: one}) == {"a": None}
    assert copies({"a": spec("ruff")}, {}, {here: one}) == {"a": None}


def test_what_is_not_known_to_be_missing_is_no_copy() -> None:
    one, two = named(spec("ruff"), "one", "r.example"), named(spec("ruff"), "two", "r.example")
    unknown = Observation(Unknown("`r.example` refuses access to `one`"))
    planned = make_plan(
        (node("a"), node("b")), variants({"a": one, "b": two}), None, {target(one): unknown, target(two): present(two)}
    )
    assert [image.copied_from for image in planned.images] == [None, None]


def test_layers_of_an_image_that_is_elsewhere_count_as_there() -> None:
    one = named(spec("ruff", "pytest"), "one", "r.example")
    base = named(spec("ruff"), "two", "r.example")
    planned = make_plan(
        (node("a"),), variants({"a": one}), None, {target(one): ABSENT}, {"r.example/x:1": present(base)}
    )
    assert [layer.status for layer in planned.images[0].layers] == ["present"] * 4 + ["missing"]


def test_a_missing_image_tells_what_is_different_from_the_one_before() -> None:
    before, now = spec("ruff", "pandas==2.2.3"), spec("ruff", "pandas==2.3.0")
    earlier = Earlier(digests(before).image, composition(before, digests(before)))
    planned = make_plan(
        (node("a"),),
        variants({"a": now}),
        None,
        {target(now): ABSENT},
        {"r/x:1": present(before)},
        {target(now): earlier},
    )
    (image,) = planned.images
    assert [(change.words, change.origin) for change in image.changes] == [("pip: pandas 2.2.3 → 2.3.0", "main.py:2")]
    assert image.earlier == earlier
    assert [(layer.status, layer.reason) for layer in image.layers[-2:]] == [
        ("present", ""),
        ("missing", "pip: pandas 2.2.3 → 2.3.0"),
    ]
    (document,) = to_document(planned)["images"]
    assert document["earlier"] == digests(before).image
    assert document["changes"] == [
        {
            "layer": digests(now).layers[-1],
            "field": "requirements",
            "before": ["pandas==2.2.3"],
            "after": ["pandas==2.3.0"],
            "words": "pip: pandas 2.2.3 → 2.3.0",
            "origin": "main.py:2",
        }
    ]
    json.dumps(document)


def test_what_is_there_has_not_changed() -> None:
    item = spec("ruff")
    earlier = Earlier(digests(item).image, composition(item, digests(item)))
    planned = make_plan(
        (node("a"),), variants({"a": item}), None, {target(item): present(item)}, {}, {target(item): earlier}
    )
    assert planned.images[0].changes == ()


def test_what_was_never_built_before_is_new() -> None:
    observations = {target(spec): Observation(Absent()) for spec in SPECS.values()}
    new = {target(SPECS["fold"]): False, target(SPECS["msa"]): True}
    planned = make_plan(NODES, variants(SPECS), None, observations, new=new)
    assert [image.reason for image in planned.images] == [
        "new environment, not in the engine's store",
        "first for linux/amd64, not in the engine's store",
        "not in the engine's store",
    ]


def test_wheel_layers_of_images_that_are_there_or_were_are_made() -> None:
    one, other = (
        WheelLayer((Pin(name, "1", f"{name}.whl", "1" * 64),), UV, "3.11", AMD64, "/opt/venv") for name in "ab"
    )
    wanted = made_of(Pinned((), "layers", layers=(one, other)))
    has_one = made_of(Pinned((), "layers", layers=(one,)))
    made_up = composition(has_one, digests(has_one))
    specs = variants(dict.fromkeys(("fold", "msa", "main"), wanted))
    here = {target(wanted): ABSENT}

    def statuses(planned: Plan) -> dict[str, str]:
        return {item.key: item.status for item in planned.wheel_layers}

    nothing = {one.key: "missing", other.key: "missing"}
    assert statuses(make_plan(NODES, specs, None, here)) == nothing
    seen = {"r/x:y": Observation(Present("sha256:1"), composition=made_up)}
    earlier = {target(wanted): Earlier("0" * 64, made_up)}
    assert statuses(make_plan(NODES, specs, None, here, seen)) == nothing | {one.key: "present"}
    assert statuses(make_plan(NODES, specs, None, here, {}, earlier)) == nothing | {one.key: "present"}
    there = {target(wanted): present(wanted)}
    assert set(statuses(make_plan(NODES, specs, None, there)).values()) == {"present"}
