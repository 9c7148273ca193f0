"""How large images are, alone and together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.size import StoredImage, StoredLayer, account, parse_size, with_wheels_named

LAYERS = st.dictionaries(st.sampled_from("abcdef"), st.just(0), max_size=6).map(
    lambda found: tuple(StoredLayer(name, 10 ** (ord(name) - ord("a"))) for name in found)
)


def image(name: str, *layers: StoredLayer) -> StoredImage:
    return StoredImage(name, (name,), layers)


def test_what_is_shared_counts_once_in_all_and_in_each() -> None:
    base, one, two = StoredLayer("base", 100), StoredLayer("one", 10), StoredLayer("two", 1)
    found = account([image("a", base, one), image("b", base, two)])
    assert [(share.image.size, share.own, share.shared) for share in found.shares] == [(110, 10, 100), (101, 1, 100)]
    assert found.layers == ((base, 2), (one, 1), (two, 1))
    assert found.size == 111


def test_wheel_layers_are_called_by_what_they_hold() -> None:
    layers = [StoredLayer(name, 1, made_by) for name, made_by in (("a", "base"), ("b", "uv"), ("c", "uv"), ("d", "sh"))]

    def made_by(*summaries: str) -> list[str]:
        return [layer.made_by for layer in with_wheels_named(layers, summaries, lambda words: words == "uv")]

    assert made_by("wheel: numpy 2", "wheel: rich 14") == ["base", "wheel: numpy 2", "wheel: rich 14", "sh"]
    assert made_by("wheel: numpy 2") == ["base", "uv", "uv", "sh"], "no name is guessed"


@given(st.lists(LAYERS, max_size=4))
def test_own_and_shared_bytes_add_up(stacks: list[tuple[StoredLayer, ...]]) -> None:
    found = account([image(str(number), *layers) for number, layers in enumerate(stacks)])
    assert all(share.own + share.shared == share.image.size for share in found.shares)
    shared = sum(layer.size for layer, users in found.layers if users > 1)
    assert found.size == shared + sum(share.own for share in found.shares)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("2GB", 2_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("800M", 800_000_000),
        ("1kb", 1000),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "2XB", "2 G B", "1e9", "two"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)
