"""What may be rewritten in requirements."""

import pytest

from flytebuild.spec.normalise import requirement, requirements


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


def test_order_is_kept_and_only_exact_repeats_are_dropped() -> None:
    assert requirements(["b", "a", "B", "a<2"]) == ("b", "a", "a<2")
