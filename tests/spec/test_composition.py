"""What an image is made of goes into a label, and comes out of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytebuild.spec.composition import composition, decode
from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Listed, Pin, Pinned, Requirements
from flytebuild.spec.model import Part
from tests.samples import file_tree, made_of, pip
from tests.spec.strategies import PARTS


@settings(max_examples=100)
@given(st.lists(PARTS, max_size=4))
def test_a_composition_survives_its_label(parts: list[Part]) -> None:
    spec = made_of(*parts)
    made = composition(spec, digests(spec))
    found = decode(made.encode())
    assert found is not None
    assert found.encode() == made.encode()
    assert found.trees == made.trees


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"base": {}, "layers": []}',
        '{"base": {}, "layers": [7], "config": {}}',
        '{"base": {}, "layers": [{"kind": "pip"}], "config": {}}',
        json.dumps({"base": {}, "layers": {}, "config": {}}),
    ],
)
def test_what_others_write_there_is_none(text: str) -> None:
    assert decode(text) is None


def test_what_files_list_goes_along() -> None:
    listed = (Listed("six==1", "a.txt", "a.txt:1"), Listed("rich", "b.txt"), Listed("attrs", "a.txt"))
    layer = Requirements(file_tree("a.txt", "0" * 64, 1), "a.txt", listed=listed)
    spec = made_of(layer, pip("numpy"))
    made = composition(spec, digests(spec))
    assert made.listed == {layer.tree.digest: {"a.txt": ["six==1", "attrs"], "b.txt": ["rich"]}}
    assert decode(made.encode()) == made
    assert [made.asked(item) for item in made.layers[-2:]] == [["six==1", "attrs", "rich"], ["numpy"]]


def test_what_locked_layers_were_asked_for_goes_along() -> None:
    pins = (Pin("six", "1.16.0", "six-1.16.0-py3-none-any.whl", "0" * 64),)
    listed = (Listed("six", "a.txt", "a.txt:1"),)
    file = Requirements(file_tree("a.txt", "0" * 64, 1), "a.txt", listed=listed)
    spec = made_of(Pinned(pins, asked=pip("six", "rich")), Pinned(pins, asked=file), Pinned(pins))
    made = composition(spec, digests(spec))
    assert made.listed == {
        digests(spec).layers[-3]: {"": ["six", "rich"]},
        digests(spec).layers[-2]: {"a.txt": ["six"]},
    }
    assert [made.listings(layer) for layer in made.layers[-3:]] == [{"": ["six", "rich"]}, {"a.txt": ["six"]}, None]
    assert decode(made.encode()) == made
    assert digests(spec) == digests(made_of(*[Pinned(pins)] * 3))


@pytest.mark.parametrize("listed", [7, [], {"a": []}, {"a": {"b": "six"}}, {"a": {"b": [7]}}])
def test_what_others_list_is_nothing(listed: object) -> None:
    found = decode(json.dumps({"base": {}, "layers": [], "config": {}, "listed": listed}))
    assert found is not None
    assert found.listed == {}
