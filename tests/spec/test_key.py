"""An image's key: documents that anybody can hash again."""

import json

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from flytebuild.spec.composition import composition
from flytebuild.spec.digests import digests
from flytebuild.spec.key import key
from flytebuild.spec.model import Part
from tests.samples import made_of, pip
from tests.spec.strategies import PARTS


@settings(max_examples=100, deadline=None)
@given(st.lists(PARTS, max_size=4))
def test_every_part_is_the_digest_of_its_bytes_and_the_last_is_the_image_s(parts: list[Part]) -> None:
    spec = made_of(*parts)
    found = list(key(spec))
    for part in found:
        assert blake3(part.content, derive_key_context=part.context).hexdigest() == part.digest
    expected = digests(spec)
    own = [part for part in found if part.kind != "wheel-layer"]
    assert [part.digest for part in own] == [expected.base, *expected.layers, expected.config, expected.image]
    assert composition(spec, expected).digests == expected.layers


def test_layers_say_where_they_are_written() -> None:
    found = list(key(made_of(pip("rich"))))
    assert [part.kind for part in found] == ["base", "uv", "venv", "pip", "config", "image"]
    assert (found[3].summary, found[3].origin) == ("pip: rich", "main.py:1")
    assert json.loads(found[3].content)["spec"] == {"requirements": ["rich"]}
