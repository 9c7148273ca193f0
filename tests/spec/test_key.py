"""An image's key: documents that anybody can hash again."""

import json

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from flytebuild.spec.composition import composition
from flytebuild.spec.digests import digests
from flytebuild.spec.key import key
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from flytebuild.spec.model import Part
from flytebuild.spec.resolution import Resolved, resolution
from tests.samples import AMD64, UV, made_of, pip
from tests.spec.strategies import PARTS


@settings(max_examples=100)
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


def test_the_wheels_of_an_image_and_how_they_get_there() -> None:
    six, rich = (Pin(name, "1", f"{name}-1.whl", "1" * 64, f"https://i.example/{name}", 1) for name in ("six", "rich"))
    layer = WheelLayer((rich,), UV, "3.11", AMD64, "/opt/venv")
    pinned = Pinned((rich,), "layers", layers=(layer,), asked=pip("rich"))
    spec = made_of(Pinned((six,)), pinned, pip("later"))
    assert list(resolution(spec)) == [
        Resolved(six, "", "pip: six==1", "main.py:1"),
        Resolved(rich, layer.key, "pip: rich", "main.py:2"),
    ]


def test_layers_say_where_they_are_written() -> None:
    found = list(key(made_of(pip("rich"))))
    assert [part.kind for part in found] == ["base", "uv", "venv", "pip", "config", "image"]
    assert (found[3].summary, found[3].origin) == ("pip: rich", "main.py:1")
    assert json.loads(found[3].content)["spec"] == {"requirements": ["rich"]}
