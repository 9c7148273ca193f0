"""Values that are equal but for their notes."""

from __future__ import annotations

from msgspec.structs import replace

from flytebuild.noted import Noted


class Word(Noted, frozen=True):
    text: str
    size: int = 0
    place: str = ""

    NOTES = ("place",)


class Other(Word, frozen=True):
    pass


def test_notes_make_no_difference_and_all_else_does() -> None:
    word = Word("a", 1, "main.py:1")
    assert (word, hash(word)) == (Word("a", 1, "main.py:2"), hash(Word("a", 1)))
    assert word != replace(word, size=2)
    assert word != Word("b", 1, "main.py:1")
    assert len({word, replace(word, place=""), replace(word, text="b")}) == 2


def test_values_of_other_kinds_are_others() -> None:
    assert Word("a") != Other("a")
    assert Word("a") != "a"
