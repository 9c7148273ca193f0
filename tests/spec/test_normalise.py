"""What may be rewritten in requirements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flytebuild.spec.normalise import is_requirement, requirement, requirements


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Requests", "requests"),
        ("my.Pkg_name", "my-pkg-name"),
        (" requests >=2, <3 ", "requests<3,>=2"),
        ("requests (>=2)", "requests>=2"),
        ("requests>=2,", "requests>=2"),
        ("x[B,a]", "x[a,b]"),
        ("x [ b_c , a, A ]", "x[a,b-c]"),
        ("x ; python_version<'3.12'", 'x ; python_version < "3.12"'),
        (
            "x;(os_name=='a' or os_name=='b')and python_version>='3'",
            'x ; (os_name == "a" or os_name == "b") and python_version >= "3"',
        ),
        ("x==1.0", "x==1.0"),
        ("x==1.0.0", "x==1.0.0"),
        ("x == 1.*", "x==1.*"),
        ("x ~= 1.4.2", "x~=1.4.2"),
        ("x === 1.0-weird", "x===1.0-weird"),
        ("x==1.0+cu121", "x==1.0+cu121"),
        ("x!=1,==1.0,!=1", "x!=1,==1.0"),
        ("x@https://e.org/X.whl", "x @ https://e.org/X.whl"),
        ("x @ https://e.org/x.whl#sha256=ab", "x @ https://e.org/x.whl#sha256=ab"),
        ("X[a] @ https://e.org/x.zip ; os_name=='nt'", 'x[a] @ https://e.org/x.zip ; os_name == "nt"'),
        ("x @ https://${TOKEN}@e.org/x.whl", "x @ https://${TOKEN}@e.org/x.whl"),
    ],
)
def test_normal_form(written: str, normal: str) -> None:
    assert is_requirement(written)
    assert requirement(written) == normal
    assert requirement(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "git+https://e.org/X",
        "./X",
        "Foo-1.0-py3-none-any.whl",
        "Foo-1.0-py3-none-any.whl[X]",
        "Foo-1.0-py3-none-any.whl ; python_version > '3'",
        "Foo-1.0.tar.gz",
        "--pre",
        "x=1",
        "x_",
        "x_>=1",
        "x>=1;",
        "x ~= 1",
        "x,==1",
        "",
    ],
)
def test_anything_else_stays_as_it_is(text: str) -> None:
    assert not is_requirement(text)
    assert requirement(text) == text


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
    assert requirements(["./a", "b", "./a"]) == ("./a", "b")


def test_the_values_of_options_are_left_alone() -> None:
    texts = ("-f", "Wheels", "-f", "More", "A", "a")
    assert requirements(texts) == texts


_names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True)
_releases = st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){1,2}((a|b|rc)[0-9])?(\.post[0-9])?(\.dev[0-9])?", fullmatch=True)
_blanks = st.sampled_from(["", " ", "\t", "  "])
_specifiers = st.one_of(
    st.tuples(st.sampled_from(["==", ">=", "<=", "!=", "<", ">", "~=", "==="]), _blanks, _releases),
    st.tuples(st.sampled_from(["==", "!="]), _blanks, st.sampled_from(["1.*", "1.2.*", "1.0+local.1"])),
).map("".join)
_markers = st.recursive(
    st.sampled_from(
        [
            "python_version>='3.9'",
            'sys_platform == "linux"',
            "extra == 'Foo_Bar'",
            "'nt' != os_name",
            "python_full_version not in '3.9.1, 3.9.2'",
        ]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]} and {pair[1]}"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) or {pair[1]}"),
        inner.map("({})".format),
    ),
    max_leaves=4,
)


@st.composite
def _requirements(draw: st.DrawFn) -> str:
    text = draw(_blanks) + draw(_names) + draw(_blanks)
    if draw(st.booleans()):
        text += f"[{','.join(draw(st.lists(_names, max_size=3)))}]"
    if draw(st.booleans()):
        text += " @ " + draw(st.sampled_from(["https://e.org/a%20B.whl#sha256=ab", "git+ssh://git@h/x@v1", "file:./x"]))
    else:
        text += f"{draw(_blanks)},{draw(_blanks)}".join(draw(st.lists(_specifiers, max_size=3)))
    if draw(st.booleans()):
        text += f" ;{draw(_blanks)}{draw(_markers)}"
    return text


def _meaning(requirement: Requirement) -> tuple[object, ...]:
    extras = frozenset(canonicalize_name(extra) for extra in requirement.extras)
    return canonicalize_name(requirement.name), extras, requirement.specifier, requirement.url, requirement.marker


@given(_requirements())
def test_normalising_is_idempotent_and_never_changes_the_meaning(text: str) -> None:
    normal = requirement(text)
    assert requirement(normal) == normal
    if is_requirement(text):
        assert is_requirement(normal)
        assert _meaning(Requirement(normal)) == _meaning(Requirement(text))
    else:
        assert normal == text


@given(st.text(max_size=30))
def test_no_text_is_too_odd(text: str) -> None:
    normal = requirement(text)
    assert requirement(normal) == normal
    assert is_requirement(normal) == is_requirement(text)
