"""What may be rewritten in requirements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.spec.normalise import is_requirement, requirement, requirements


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Requests", "requests"),
        ("my.Pkg_name", "my-pkg-name"),
        ("requests >=2, <3", "requests<3,>=2"),
        ("x[B,a]", "x[a,b]"),
        ("x ; python_version<'3.12'", 'x ; python_version < "3.12"'),
        ("x==1.0", "x==1.0"),
        ("x==1.0.0", "x==1.0.0"),
        ("x @ https://e.org/x.whl#sha256=ab", "x @ https://e.org/x.whl#sha256=ab"),
        ("git+https://e.org/x", "git+https://e.org/x"),
    ],
)
def test_normal_form(written: str, normal: str) -> None:
    assert requirement(written) == normal
    assert requirement(normal) == normal


@given(
    st.from_regex(r"[a-zA-Z0-9._-]{1,6}", fullmatch=True),
    st.lists(st.from_regex(r"(==|!=|<=|>=|<|>|~=|=== ?|) ?[0-9.]{1,3}[*a]?", fullmatch=True), max_size=3),
)
def test_plain_requirements_come_to_what_the_full_parser_makes_of_them(name: str, specifiers: list[str]) -> None:
    """The space makes the same requirement one that is not plain."""
    text = name + ",".join(specifiers)
    assert requirement(text).strip() == requirement(f" {text} ").strip()
    assert is_requirement(text) == is_requirement(f" {text} ")


def test_order_is_kept_and_only_exact_repeats_are_dropped() -> None:
    assert requirements(["b", "a", "B", "a<2"]) == ("b", "a", "a<2")
