"""What an image is made of goes into a label, and comes out of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytebuild.spec.composition import composition, decode
from flytebuild.spec.digests import digests
from flytebuild.spec.model import Part
from tests.samples import made_of
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
