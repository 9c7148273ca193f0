"""What people see of two images that differ."""

from flytebuild.cli.diff import render
from flytebuild.sides import Side
from flytebuild.spec.composition import composition
from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Pin, Pinned
from flytebuild.why import changes
from tests.samples import made_of

NAMES = "abcde"


def side(name: str, version: str) -> Side:
    pins = (Pin(package, version, f"{package}-{version}-py3-none-any.whl", "6" * 64) for package in NAMES)
    spec = made_of(Pinned(tuple(pins)))
    return Side(name, digests(spec).image, composition(spec, digests(spec)))


def test_every_package_is_listed_of_which_a_plan_counts_most() -> None:
    left, right = side("train@b3-1", "1"), side("train", "2")
    found = changes(left.composition, right.composition, origins=("", "", "main.py:4"))
    names, *told = (line.plain for line in render(left, right, found))
    assert names == f"{left.image[:12]}  train@b3-1\n{right.image[:12]}  train"
    assert told == [f"  pip: {package} 1 → 2  (main.py:4)" for package in NAMES]
