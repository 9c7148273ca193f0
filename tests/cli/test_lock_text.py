"""What `flytebuild lock` says of layers that are no wheel layers."""

from __future__ import annotations

from pathlib import Path

from flytebuild.cli.lock import _lines
from flytebuild.graph import EnvironmentNode
from flytebuild.spec.layers import Command
from flytebuild.wheels.lock import Lock, LockedLayer, UnlockedLayer
from tests.samples import definition, pip


def test_what_is_no_wheel_layer_is_told_with_its_place_where_an_environment_was_asked_for() -> None:
    image = definition(Command("true"), pip("docopt"), pip("six"))
    one, two = (EnvironmentNode(name, "main.py", (), (), image) for name in ("one", "two"))
    lock = Lock(
        layers=(LockedLayer("pip: six", "linux/amd64", "1", ("one", "two"), (), obstacle="`i` wants credentials"),),
        unlocked=(
            UnlockedLayer("pip: docopt", "linux/amd64", "2", ("one",), "there is no wheel"),
            UnlockedLayer("pip: elsewhere", "linux/amd64", "3", ("one", "gone"), "there is no wheel"),
        ),
    )

    def told(*nodes: EnvironmentNode) -> list[str]:
        lines = _lines(Path("flytebuild.lock"), None, lock, (), nodes, is_written=True, is_dry=False)
        return [line.plain.strip() for line in lines][:-1]

    step = "installed by a step: `pip: six` (main.py:3) of {}: `i` wants credentials"
    assert told(one, two) == [
        "not locked: `pip: docopt` (main.py:2) of `one`: there is no wheel",
        "not locked: `pip: elsewhere` of `one`: there is no wheel",
        step.format("`one`, `two`"),
    ]
    assert told(two) == [step.format("`two`")]
