"""Which wheel of several is taken: as by an installer on the machine that it is for."""

import pytest

from flytebuild.wheels.tags import best

NAME = "x-1-{}.whl"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"], 1),
        (["cp37-abi3-manylinux_2_28_x86_64", "cp37-abi3-manylinux_2_34_x86_64"], 1),
        (["cp37-abi3-manylinux_2_28_x86_64", "cp37-abi3-manylinux_2_39_x86_64"], 0),
        (["cp311-abi3-manylinux2014_x86_64", "cp37-abi3-manylinux_2_28_x86_64"], 0),
        (["cp312-cp312-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_aarch64"], None),
        (["cp311-cp311-musllinux_1_2_x86_64", "cp311-cp311-macosx_11_0_arm64", "py2.py3-none-any"], 2),
        (["cp311-cp311-linux_x86_64", "cp311-cp311-manylinux1_x86_64"], 1),
        (["py3-none-any", "not a wheel"], 0),
        ([], None),
    ],
)
def test_the_best_wheel(offered: list[str], taken: int | None) -> None:
    files = [NAME.format(tag) for tag in offered]
    assert best(files, (3, 11), "x86_64", (2, 36)) == (None if taken is None else files[taken])


def test_of_equal_wheels_the_later_build_is_taken() -> None:
    files = ["x-1-2-py3-none-any.whl", "x-1-10-py3-none-any.whl", "x-1-py3-none-any.whl"]
    assert best(files, (3, 11), "aarch64", (2, 36)) == files[1]
