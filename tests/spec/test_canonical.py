"""The canonical encoding: golden vectors, and what must never share one."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.spec.canonical import digest, encode, extend, split

BASE = {"image": "sha256:" + "1" * 64, "platform": "linux/amd64", "schema": 1}
VALUES = st.recursive(
    st.text() | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(), VALUES, max_size=5)


def layer(kind: str, packages: list[str], parent: str) -> str:
    document = {"emitter": 1, "kind": kind, "parent": parent, "schema": 1, "spec": {"packages": packages}}
    return digest("layer", document)


def test_golden_digests() -> None:
    base = digest("base", BASE)
    assert base == "847a4a3130f49faf2b8dcc647ea7e0144de683af7521bc3fcbf4258bb091f991"
    apt = layer("apt", ["curl"], base)
    assert apt == "be1f08e79da708e198564428c70e9062c5fd12084266d73c15fae5af0b4ec6c3"
    assert layer("pip", ["curl"], base) == "d0819fcd0e67af392a4123cf2dd664a0d5cd0d64812c02162e97c6df3829ea35"
    pip = layer("pip", ["numpy<3,>=1.26", "pandas"], apt)
    assert pip == "5ef00507bc79db7a29558d56907a0eb47a0e3f8edd6143d4b8669bd052465e9b"


def test_bytes_are_sorted_and_bare() -> None:
    assert encode({"b": [1, True], "a": "é"}) == '{"a":"é","b":[1,true]}'.encode()


def test_domains_are_apart() -> None:
    assert len({digest(domain, BASE) for domain in ("base", "layer", "config", "image")}) == 4


@pytest.mark.parametrize("value", [None, 1.0, [None], {"x": [1.5]}])
def test_ambiguous_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no place"):
        encode({"x": value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "value", ["\ud800", {"\udfff": 1}, ["a\udce9"], 2**53, -(2**53), {1: "a"}, {True: "a"}, b"a", float("nan"), {"a"}]
)
def test_what_has_no_single_encoding_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"no place|codec|non-UTF-8|exceeds|type|keys|unsupported"):
        encode({"x": value})  # type: ignore[dict-item]


@given(DOCUMENTS)
def test_bytes_are_those_of_rfc_8785(document: dict[str, object]) -> None:
    """Most documents take a shorter way."""
    assert encode(document) == rfc8785.dumps(document)  # type: ignore[arg-type]


@given(st.dictionaries(st.from_regex("[a-y]{1,3}", fullmatch=True), VALUES, min_size=1, max_size=4), VALUES)
def test_a_field_more_at_the_end(document: dict[str, object], value: object) -> None:
    extended = extend(encode(document), "z", rfc8785.dumps(value))  # type: ignore[arg-type]
    assert extended == rfc8785.dumps({**document, "z": value})  # type: ignore[dict-item]


@given(st.dictionaries(st.sampled_from("abcxyz"), st.text() | st.booleans()), DOCUMENTS, st.text("0123456789abcdef"))
def test_what_is_around_a_field(fields: dict[str, object], later: dict[str, object], text: str) -> None:
    before, after = split({**fields, "n": later}, "m")  # type: ignore[dict-item]
    assert before + text.encode() + after == rfc8785.dumps({**fields, "n": later, "m": text})  # type: ignore[dict-item]


@given(DOCUMENTS)
def test_round_trip(document: dict[str, object]) -> None:
    assert json.loads(encode(document)) == document  # type: ignore[arg-type]


@given(DOCUMENTS, DOCUMENTS)
def test_equal_bytes_mean_equal_documents(one: dict[str, object], other: dict[str, object]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (encode(one) == encode(other)) == same  # type: ignore[arg-type]
