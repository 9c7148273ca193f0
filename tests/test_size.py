"""How large images are, alone and together."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.size import (
    StoredImage,
    StoredLayer,
    account,
    parse_size,
    with_base_named,
    with_imports_named,
    with_steps_named,
)

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


def made_by(layers: Iterable[StoredLayer]) -> list[str]:
    return [layer.made_by for layer in layers]


def stack(*told: str) -> list[StoredLayer]:
    return [StoredLayer(str(number), 10, words) for number, words in enumerate(told)]


def test_layers_are_called_as_the_plan_calls_their_steps() -> None:
    layers = stack("base", "uv", "uv", "sh")
    named = with_steps_named(layers, {"uv": ["wheel: numpy 2", "wheel: rich 14"], "apt": ["apt: git"]})
    assert made_by(named) == ["base", "wheel: numpy 2", "wheel: rich 14", "sh"]
    guessed = with_steps_named(layers, {"uv": ["wheel: numpy 2"] * 3, "sh": ["run: one", "run: two"]})
    assert made_by(guessed) == ["base", "wheel: numpy 2", "wheel: numpy 2", "sh"], "no name is guessed"


SILENT = "created by buildkit"


@pytest.mark.parametrize(
    ("told", "size", "named"),
    [
        # As many bytes as the base has, whatever lies on them.
        ((SILENT, "pulled from b@sha256:1", "uv"), 20, ["base b", "base b", "uv"]),
        ((SILENT, "imported sha256:2f", "uv"), 20, ["base b", "base b", "uv"]),
        ((SILENT, "RUN apt-get", SILENT), 20, ["base b", "base b: RUN apt-get", SILENT]),
        # Stored otherwise, as in an engine: what says nothing below the lowest step.
        ((SILENT, SILENT, "uv", SILENT), 15, ["base b", "base b", "uv", SILENT]),
        ((SILENT, SILENT, "pip: a"), None, [SILENT, SILENT, "pip: a"]),
        ((SILENT, SILENT), None, [SILENT, SILENT]),
        ((), None, []),
    ],
)
def test_the_lowest_layers_are_called_by_their_base(told: tuple[str, ...], size: int | None, named: list[str]) -> None:
    assert made_by(with_base_named(stack(*told), "base b", size, "uv")) == named


IMPORTED = "imported sha256:1e80"


@pytest.mark.parametrize(
    ("told", "size", "named"),
    [
        ((SILENT, "RUN apt-get", IMPORTED, "uv"), 20, [SILENT, "RUN apt-get", "wheel: a 1", "uv"]),
        # Stored otherwise, as in an engine: what says nothing below what lies on the base.
        ((SILENT, SILENT, IMPORTED, IMPORTED), 15, [SILENT, SILENT, "wheel: a 1", "wheel: b 2"]),
        # Another number of layers than is known of: no name is guessed.
        ((SILENT, IMPORTED, IMPORTED, IMPORTED), 10, [SILENT, IMPORTED, IMPORTED, IMPORTED]),
        ((SILENT, SILENT, SILENT, IMPORTED), 30, [SILENT, SILENT, SILENT, IMPORTED]),
        ((IMPORTED,), None, [IMPORTED]),
    ],
)
def test_layers_from_caches_are_called_by_their_order(
    told: tuple[str, ...], size: int | None, named: list[str]
) -> None:
    assert made_by(with_imports_named(stack(*told), ("wheel: a 1", "wheel: b 2"), size)) == named


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
