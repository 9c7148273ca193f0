"""Lines that are longer than a terminal is wide."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from flytebuild.cli.wrapping import fitted, wrapped

PLAN = Text("\n").join(
    [
        Text("To do", "bold"),
        Text.assemble("  ", ("+", "yellow"), " 6239401dc96f  fold  ", ("to build: new environment", "yellow")),
        Text("      r.example/team/flyte:b3-6239401dc96fb930ab9fac0758f4e197", "dim"),
        Text(),
        Text("1 image"),
    ]
)
NARROW = """\
To do
  + 6239401dc96f  fold  to build:
        new environment
      r.example/team/flyte:b3-6239401dc96fb930ab9fac0758f4e197

1 image"""


def test_lines_break_between_words_and_go_on_further_in() -> None:
    found = wrapped(PLAN, 34)
    assert found.plain == NARROW
    styles = {found.plain[span.start : span.end]: str(span.style) for span in found.spans}
    # What a style is of keeps it on the next line, and what was put in has none.
    assert styles["new environment"] == styles["to build:"] == styles["+"] == "yellow"
    assert styles["To do"] == "bold"


@given(st.lists(st.text("ab é漢", max_size=60), min_size=1, max_size=4), st.integers(20, 50))
def test_every_word_stays_and_nothing_is_too_wide(lines: list[str], width: int) -> None:
    text = "\n".join(lines)
    found = wrapped(Text(text), width).plain
    assert found.split() == text.split()
    for line in found.split("\n"):
        assert cell_len(line.rstrip()) <= width or len(line.split()) == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("file", "shown"), [(Terminal(), NARROW), (io.StringIO(), PLAN.plain)])
def test_where_lines_are_looked_for_each_stays_one(file: io.StringIO, shown: str) -> None:
    assert fitted(PLAN, Console(file=file, width=34)).plain == shown
