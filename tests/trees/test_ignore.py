"""What a `.dockerignore` leaves out, by the rules that Docker has for it.

The verdicts of `PATHS` and `FILES` are those of Docker's own matcher, `github.com/moby/patternmatcher`.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.errors import IgnoreFileError
from flytebuild.trees.ignore import Ignore


def parse(*lines: str) -> Ignore:
    return Ignore.parse("\n".join(lines), "x")


# A pattern, paths that it leaves out, paths that it does not.
PATHS: list[tuple[str, list[str], list[str]]] = [
    ("data", ["data", "data/x", "data/x/y"], ["Data", "database", "x/data", "dat"]),
    ("/data", ["data", "data/x"], ["x/data"]),
    ("data/", ["data", "data/x"], ["database"]),
    ("./data//raw/../raw", ["data/raw", "data/raw/x"], ["data", "data/x"]),
    ("../data", [], ["data"]),
    (".", [], ["a"]),
    ("/", [], ["a"]),
    ("*", ["a", "a/b", ".hidden", "two\nlines"], []),
    ("*.log", ["a.log", ".log", "a.log/b"], ["a/b.log", "a.logs", "log"]),
    ("*/*.log", ["a/b.log"], ["b.log", "a/b/c.log"]),
    ("a*c", ["ac", "abc", "abbc"], ["a/c", "abcd"]),
    ("?", ["a", "é", "🚀", "\udcff"], ["ab"]),
    ("a?c", ["abc", "a☺c"], ["ac", "a/c", "abbc"]),
    ("**", ["a", "a/b"], []),
    ("**/", ["a", "a/b"], []),
    ("**/**", ["a", "a/b"], []),
    ("**/x", ["x", "a/x", "a/b/x", "a/x/b"], ["ax", "a/bx", "xa"]),
    ("**/x/y", ["x/y", "a/x/y", "x/y/z"], ["x", "y", "ax/y"]),
    ("**x", ["x", "ax", "a/x", "a/bx"], ["xa"]),
    ("**/*.pyc", ["a.pyc", "p/q/a.pyc"], ["a.py", "pyc"]),
    ("**/.git", [".git", "a/.git", "a/.git/config"], ["x.git", ".gitignore"]),
    ("**/a*", ["a", "ab", "x/y/ab"], ["b", "x/ba"]),
    ("**/**/*.txt", ["a.txt", "x/a.txt", "x/y/a.txt"], ["a.txt2"]),
    ("x/**", ["x/a", "x/a/b"], ["x", "ax/a"]),
    ("x/**/y", ["x/y", "x/a/y", "x/a/b/y", "x/y/z"], ["xy", "x", "x/ay"]),
    ("x**", ["x", "xy", "x/y", "xa/b"], ["ax"]),
    ("a**/*.txt", ["a.txt", "ab.txt", "a/b.txt", "ab/c/d.txt"], ["b/a.txt"]),
    ("*.whl", ["p-2.4.0rc3.dev36+g08-py3-none-any.whl"], []),
    ("a.b", ["a.b"], ["acb"]),
    ("a(b)c+{d}|$^", ["a(b)c+{d}|$^"], ["abc"]),
    ("a[b-d]e", ["abe", "ace"], ["ae", "aee", "aBe"]),
    ("a[^b-d]e", ["aze", "a☺e"], ["abe", "ae"]),
    ("[!a]", ["!", "a"], ["b"]),
    ("[a-ж]", ["ä", "b"], ["A", "я"]),
    (r"[\]a]", ["]", "a"], ["b", "\\"]),
    (r"[x\-]", ["x", "-"], ["y"]),
    (r"[\-x]", ["x", "-"], ["a"]),
    ("[*]", ["*"], ["a", "ab"]),
    ("a]", ["a]"], ["a"]),
    (r"\*", ["*"], ["a"]),
    (r"a\*b", ["a*b"], ["acb", "ab"]),
    (r"a\\", ["a\\"], ["a"]),
    (r"\!a", ["!a"], ["a"]),
    (r"\#a", ["#a"], ["a"]),
    (r"\d", ["d"], ["1"]),
    ("a b", ["a b"], ["a", "b"]),
    ("  a  ", ["a"], ["  a"]),
    ("\ta\r", ["a"], []),
    (" # a", ["# a"], ["a"]),
    ("#a", [], ["#a", "a"]),
    ("é", ["é"], ["e\u0301"]),
]


@pytest.mark.parametrize(("pattern", "inside", "outside"), PATHS)
def test_one_pattern(pattern: str, inside: list[str], outside: list[str]) -> None:
    ignore = parse(pattern)
    assert [path for path in inside if not ignore.excludes(path)] == []
    assert [path for path in outside if ignore.excludes(path)] == []


# Lines, paths that they leave out, paths that they do not.
FILES: list[tuple[list[str], list[str], list[str]]] = [
    (["docs", "!docs/README.md"], ["docs", "docs/a"], ["docs/README.md"]),
    (["docs/", "! docs/README.md"], ["docs/a"], ["docs/README.md"]),
    (["docs/*", "!/docs/README.md"], ["docs/a"], ["docs", "docs/README.md"]),
    (["!a.go", "*.go"], ["a.go"], ["a"]),
    (["*.go", "!a.go"], ["b.go"], ["a.go"]),
    (["*", "!src"], ["a", "a/src"], ["src", "src/a", "src/a/b"]),
    (["*", "!src", "src/secret"], ["a", "src/secret", "src/secret/x"], ["src", "src/a"]),
    (["**", "!a/b/c"], ["a", "a/b", "a/x"], ["a/b/c", "a/b/c/d"]),
    (["**", "!a/b", "a/b/c"], ["a/b/c", "x"], ["a/b", "a/b/d"]),
    (["a", "!a/b", "a/b/c", "!a/b/c/d"], ["a", "a/x", "a/b/c", "a/b/c/x"], ["a/b", "a/b/c/d", "a/b/c/d/e"]),
    (["*.md", "!README*.md", "README-secret.md"], ["a.md", "README-secret.md"], ["README.md", "README-x.md"]),
    (["*.md", "README-secret.md", "!README*.md"], ["a.md"], ["README.md", "README-secret.md"]),
    (["**/*.pyc", "!keep.pyc"], ["a.pyc", "x/keep.pyc"], ["keep.pyc"]),
    (["", "  ", "# a", "b"], ["b"], ["a", "# a"]),
    # A `!` only takes effect on a folder that is ignored when its turn comes, and hands nothing down otherwise.
    (["**/node_modules", "!packages"], ["packages/node_modules"], ["packages", "packages/x"]),
    (["a/x", "!a"], ["a/x"], ["a", "a/y"]),
    (["*", "!src/x", "src"], ["src", "src/y"], ["src/x"]),
]


@pytest.mark.parametrize(("lines", "inside", "outside"), FILES)
def test_the_last_match_decides(lines: list[str], inside: list[str], outside: list[str]) -> None:
    ignore = parse(*lines)
    assert [path for path in inside if not ignore.excludes(path)] == []
    assert [path for path in outside if ignore.excludes(path)] == []


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert Ignore.parse("\ufeff# comment\nb", "x").patterns == parse("b").patterns
    assert Ignore.parse("\ufeffa\r\nb\r\n", "x").patterns == parse("a", "b").patterns


@pytest.mark.parametrize("line", ["!", "! ", "!/", "[", "a[", "[^", "[^bc", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]"])
def test_malformed_sets_and_negations_are_named(line: str) -> None:
    with pytest.raises(IgnoreFileError, match=r"^\.dockerignore:3: ") as caught:
        Ignore.parse(f"a\n# b\n{line}\n", ".dockerignore")
    assert f"`{line.strip()}`" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("line", ["\\", "a\\", "[\\", "[z-a]", "a/[", "**/[b"])
def test_malformed_escapes_and_ranges_are_named(line: str) -> None:
    with pytest.raises(IgnoreFileError, match=r"^x:1: "):
        parse(line)


def test_nothing_is_ignored_without_patterns() -> None:
    assert not Ignore.none()
    assert not Ignore.none().excludes("a")
    assert Ignore.parse("# only a comment\n", "x") == Ignore.none()


def test_joined_patterns_come_later() -> None:
    ignore = parse("*").joined(parse("!a"))
    assert not ignore.excludes("a")
    assert ignore.excludes("b")
    assert parse("!a").joined(parse("*")).excludes("a")


@pytest.mark.parametrize(
    ("lines", "folder", "expected"),
    [
        (["a"], "a", False),
        (["a", "!a/b"], "a", True),
        (["a", "!a/b"], "a/c", False),
        (["a", "!a/b/c"], "a/b", True),
        (["a", "!b/c"], "a", False),
        (["a", "!*/c"], "a", True),
        (["a", "!**/c"], "a", True),
        (["*", "![ab]/c"], "x", True),
        # What comes after every `!` cannot be taken back.
        (["!**/*.py", ".venv"], ".venv", False),
        (["*", "!**/*.py", ".venv"], ".venv/lib", True),
        (["*", "!x", ".venv"], ".venv/lib", False),
    ],
)
def test_where_something_may_be_wanted_below(lines: list[str], folder: str, expected: bool) -> None:
    assert parse(*lines).may_reinclude_below(folder) is expected


NAMES = st.sampled_from(["a", "b", "ab", "a.py", ".x"])
COMPONENTS = st.sampled_from(["a", "b", "ab", "*", "?", "**", "*.py", "a*", "[ab]", "[^a]", "**b", "a**", ".x"])
LINES = st.builds(
    lambda sense, parts: sense + "/".join(parts),
    st.sampled_from(["", "!"]),
    st.lists(COMPONENTS, min_size=1, max_size=3),
)


@given(st.lists(LINES, max_size=5), st.lists(NAMES, min_size=2, max_size=4))
def test_no_look_inside_is_spared_wrongly(lines: list[str], parts: list[str]) -> None:
    ignore = parse(*lines)
    path = "/".join(parts)
    if not ignore.excludes(path):
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            assert not ignore.excludes(folder) or ignore.may_reinclude_below(folder)


def test_no_pattern_takes_forever() -> None:
    ignore = parse("**/**/**/**/**/x", "a*/**/b*/**/c*", "**/*a*b*c*d*e")
    assert not ignore.excludes("/".join(["aabbccdd" * 4] * 20))
