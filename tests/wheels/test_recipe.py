"""Which pinned packages become layers that images share, and why others stay a step."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Command, Pin, Pinned, PipOptions, Secret
from flytebuild.spec.model import ImageSpec, SetEnv
from flytebuild.wheels.partition import HEAVY, LIMIT
from flytebuild.wheels.recipe import tool_of, tools_needed, with_wheel_layers
from tests.samples import UV, made_of, pip

TOOL = tool_of("3.11")
TOOLS = {TOOL: replace(UV, reference=TOOL, location=f"mirror.example/{TOOL}")}


def pin(name: str, size: int = 1, version: str = "1") -> Pin:
    filename = f"{name}-{version}-py3-none-any.whl"
    return Pin(name, version, filename, "1" * 64, f"https://files.example/{filename}", size)


PINNED = Pinned((pin("numpy", HEAVY), pin("six")), python="3.11")


def layers(spec: ImageSpec) -> list[Pinned]:
    return [step.layer for step in spec.steps if isinstance(step.layer, Pinned)]


def reason(layer: Pinned, *before: SetEnv) -> str:
    """Why a layer stays a step."""
    (found,) = layers(with_wheel_layers(made_of(*before, layer), TOOLS))
    assert (found.recipe, found.layers) == ("chain", ())
    return found.reason


def test_a_layer_becomes_those_of_its_wheels() -> None:
    spec = made_of(pip("ruff"), PINNED, Pinned((pin("click"),), python="3.11"))
    assert tools_needed(spec) == {TOOL}
    first, second = layers(with_wheel_layers(spec, TOOLS))
    assert [[item.name for item in layer.pins] for layer in first.layers] == [["numpy"], ["six"]]
    assert [layer.summary for layer in second.layers] == ["wheel: click 1"]
    assert {first.recipe, second.recipe} == {"layers"}
    assert [layer.tool for layer in second.layers] == [TOOLS[TOOL]]


def test_packages_that_are_named_are_apart_from_those_that_came_along() -> None:
    asked = pip("Click>=8", "numpy")
    layer = Pinned((pin("click"), pin("colorama"), pin("numpy", HEAVY)), asked=asked, python="3.11")
    (found,) = layers(with_wheel_layers(made_of(layer), TOOLS))
    assert [item.summary for item in found.layers] == ["wheel: numpy 1", "wheel: colorama 1", "wheel: click 1"]


def test_layers_that_are_declared_one_after_the_other_are_joined_where_there_are_too_many() -> None:
    alone = [Pinned((pin(f"p{number:02}"),), python="3.11") for number in range(LIMIT + 2)]
    found = layers(with_wheel_layers(made_of(*alone), TOOLS))
    assert [len(layer.layers) for layer in found] == [1] * (LIMIT + 2)
    assert len({layer.layers[0].key for layer in found}) == LIMIT
    assert [item.name for item in found[-1].layers[0].pins] == ["p47", "p48", "p49"]
    assert found[-3].layers == found[-1].layers != found[-4].layers
    # What runs between them needs those below it, and those only.
    parted = layers(with_wheel_layers(made_of(*alone[:-1], Command("true"), alone[-1]), TOOLS))
    assert [[item.name for item in layer.layers[0].pins] for layer in parted[-2:]] == [["p46", "p47", "p48"], ["p49"]]


def test_the_image_is_another_one_by_the_recipe_and_not_by_where_wheels_come_from() -> None:
    chain, shared = made_of(PINNED), with_wheel_layers(made_of(PINNED), TOOLS)
    assert digests(chain).image != digests(shared).image
    moved = Pinned(tuple(replace(item, url=item.url.replace("files", "other")) for item in PINNED.pins), python="3.11")
    assert digests(with_wheel_layers(made_of(moved), TOOLS)).image == digests(shared).image


def test_what_steps_see_is_no_part_of_wheel_layers() -> None:
    plain, told = (with_wheel_layers(made_of(*before, PINNED), TOOLS) for before in ((), (SetEnv((("A", "1"),)),)))
    assert digests(plain).layers == digests(told).layers


def test_nothing_to_add_is_nothing() -> None:
    spec = made_of(Pinned((), python="3.11"))
    assert tools_needed(spec) == frozenset()
    (found,) = layers(with_wheel_layers(spec, {}))
    assert (found.layers, found.reason) == ((), "")


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (replace(PINNED, python=""), "it is not known which Python it is for"),
        (replace(PINNED, obstacle="the base is odd"), "the base is odd"),
        (Pinned((pin("six"),), python="3.11", replaces=("six",)), "it replaces `six` of what is below"),
        (
            Pinned(tuple(map(pin, "abcd")), python="3.11", replaces=tuple("abcd")),
            "it replaces `a`, `b`, `c` and 1 more of what is below",
        ),
        (replace(PINNED, replaces=("six",), obstacle="the base is odd"), "the base is odd"),
        (replace(PINNED, options=PipOptions(secrets=(Secret("", "token", "TOKEN"),))), "its index wants a secret"),
        (Pinned((replace(pin("a"), url=""),), python="3.11"), "`a-1-py3-none-any.whl` is not on the network"),
        (
            Pinned((replace(pin("a"), url="file:///a.whl"),), python="3.11"),
            "`a-1-py3-none-any.whl` is not on the network",
        ),
        (Pinned((replace(pin("a"), filename="a-1.tar.gz"),), python="3.11"), "`a-1.tar.gz` is no wheel"),
        (
            Pinned((replace(pin("a"), url="https://u:secret@i.example/a.whl"),), python="3.11"),
            "`i.example` wants credentials",
        ),
    ],
)
def test_why_a_layer_stays_a_step(layer: Pinned, why: str) -> None:
    assert reason(layer) == why


@pytest.mark.parametrize("name", ["UV_COMPILE_BYTECODE", "PYC_INVALIDATION_MODE", "PYTHONPYCACHEPREFIX"])
def test_an_image_that_says_how_to_install_has_steps(name: str) -> None:
    assert reason(PINNED, SetEnv(((name, "0"),))) == f"the image sets `{name}`"


def test_without_the_image_that_makes_them_there_are_steps() -> None:
    gone = replace(TOOLS[TOOL], digest=None, problem="no answer")
    (found,) = layers(with_wheel_layers(made_of(PINNED), {TOOL: gone}))
    assert found.reason == f"`{TOOL}`, which makes wheel layers, is not known: no answer"


def test_a_step_beside_wheel_layers_stays_one() -> None:
    spec = made_of(PINNED, replace(PINNED, replaces=("numpy", "six")), Pinned((pin("click"),), python="3.11"))
    assert [layer.recipe for layer in layers(with_wheel_layers(spec, TOOLS))] == ["layers", "chain", "layers"]


def test_only_what_replaces_others_is_a_step_below_the_wheel_layers() -> None:
    asked = pip("numpy", "six")
    step, merged = layers(with_wheel_layers(made_of(replace(PINNED, replaces=("six",), asked=asked)), TOOLS))
    assert (step.recipe, step.reason) == ("chain", "it replaces `six` of what is below")
    assert (merged.recipe, merged.reason) == ("layers", "")
    assert [step.summary, merged.summary] == ["pip: numpy, six (only six)", "pip: numpy, six (all but six)"]
    assert [[item.name for item in layer.pins] for layer in merged.layers] == [["numpy"]]
    # What they are called is no part of what they are.
    named, plain = made_of(step, merged), made_of(replace(step, part=""), replace(merged, part=""))
    assert digests(named) == digests(plain)
    # The same layer as where nothing is replaced.
    alone = Pinned((pin("numpy", HEAVY),), python="3.11")
    (other,) = layers(with_wheel_layers(made_of(alone), TOOLS))
    assert merged.layers == other.layers


def test_what_replaces_others_may_want_credentials() -> None:
    hidden = replace(pin("six"), url="https://u:secret@i.example/six.whl")
    layer = Pinned((pin("numpy"), hidden), python="3.11", replaces=("six",))
    assert [item.recipe for item in layers(with_wheel_layers(made_of(layer), TOOLS))] == ["chain", "layers"]
