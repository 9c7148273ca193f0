"""References in environment values, as a Dockerfile expands them; the tables were compared with Docker's own lexer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.spec.expand import ExpansionError, expand

VALUES = {"A": "a val", "E": "", "P": "/usr/bin"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$A", "a val"),
        ("${A}", "a val"),
        ("$U", ""),
        ("${U}", ""),
        ("$AB", ""),
        ("$A-b", "a val-b"),
        ("$P:$P", "/usr/bin:/usr/bin"),
        ("${U:-w}", "w"),
        ("${E:-w}", "w"),
        ("${E-w}", ""),
        ("${U-w}", "w"),
        ("${U:-}", ""),
        ("${A:+w}", "w"),
        ("${E:+w}", ""),
        ("${E+w}", "w"),
        ("${U:+w}", ""),
        ("${U:-${A}}", "a val"),
        ("${U:-x${E:-$P}y}", "x/usr/biny"),
        ("${A:-${U:-z}}", "a val"),
        ("${A:+[${P}]}", "[/usr/bin]"),
        ("${U:- a  b }", " a  b "),
        (r"${U:-a\}b}", "a}b"),
        (r"${U:-\$A}", "$A"),
        (r"\$A", "$A"),
        (r"\${A}", "${A}"),
        (r"\\$A", r"\a val"),
        (r"\\\$A", r"\$A"),
        (r"\\\\$A", r"\\a val"),
        ("{x} }", "{x} }"),
        (r"\}", r"\}"),
        (r"a\nb\\c", r"a\nb\\c"),
        ("$", "$"),
        ("$ $. $/", "$ $. $/"),
        ("'$A'", "'a val'"),
        ('"$A"', '"a val"'),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, VALUES) == expanded


@pytest.mark.parametrize("text", ["costs $5", "$1$@$#$?$!$*$-", "end$$", "$$5"])
def test_a_dollar_without_a_name_stays_where_docker_would_drop_it(text: str) -> None:
    assert expand(text, VALUES) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x${", "${"),
        ("x${}", "${}"),
        ("${A", "${A"),
        ("x${A:-b", "${A:-b"),
        ("${A:-${B:-c}", "${A:-${B:-c}"),
        ("${A:?unset}y", "${A:?unset}"),
        ("${A?unset}", "${A?unset}"),
        ("${A:=b}", "${A:=b}"),
        ("${A#a*}", "${A#a*}"),
        ("${A/a/b}", "${A/a/b}"),
        ("${1}", "${1}"),
        ("${U:-${A:?x}}", "${A:?x}"),
        ("$$A", "$$"),
        ("$${A}", "$$"),
    ],
)
def test_other_forms_are_refused(text: str, named: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(text, VALUES)
    assert str(caught.value) == named


texts = st.text(st.sampled_from(r"$\{}:-+AE_1 x"), max_size=20)


@given(texts)
def test_an_escaped_text_is_itself(text: str) -> None:
    escaped = re.sub(r"(\\*)\$", lambda match: match[1] * 2 + r"\$", text)
    assert expand(escaped, VALUES) == text


@given(texts, texts)
def test_a_default_is_expanded_like_a_text(word: str, rest: str) -> None:
    rest = rest.replace("$", "").replace("\\", "")
    try:
        expanded = expand(word, VALUES)
    except ExpansionError:
        return
    # A brace ends a word, unless it is part of a reference in it.
    if "}" not in word and not word.endswith("\\") and not word.endswith("$"):
        assert expand(f"${{U:-{word}}}{rest}", VALUES) == expanded + rest


@given(st.text().filter(lambda text: "$" not in text), st.dictionaries(st.text(), st.text()))
def test_without_a_dollar_nothing_changes(text: str, values: dict[str, str]) -> None:
    assert expand(text, values) == text
