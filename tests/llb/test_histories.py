"""What histories say of layers, by the steps that make them."""

from msgspec.structs import replace

from flytebuild.llb.histories import layers_upon_base, steps_told
from flytebuild.spec.layers import Command, Copy, Pin, Pinned, WheelLayer
from tests.samples import AMD64, UV, file_tree, made_of, pip, put_on_top

NUMPY = Pin("numpy", "2.3.0", "numpy-2.3.0-cp311.whl", "6" * 64, "https://i.example/n/numpy-2.3.0-cp311.whl", 1)
SIX = Pin("six", "1.0", "six-1.0-py3.whl", "7" * 64, "https://i.example/s/six-1.0-py3.whl", 1)


def test_steps_are_known_by_their_commands() -> None:
    found = steps_told(made_of(pip("rich"), Command(shell="echo one"), Command(args=("echo", "two"))))
    assert found["mount / from exec uv pip install --python /opt/venv/bin/python rich"] == ["pip: rich"]
    assert found["mount / from exec /bin/sh -c echo one"] == ["run: echo one"]
    assert found["mount / from exec echo two"] == ["run: echo two"]


def test_steps_of_one_command_come_in_their_order() -> None:
    one, two = Pinned((NUMPY,), "steps"), Pinned((SIX,), "steps")
    assert ["pip: numpy==2.3.0", "pip: six==1.0"] in steps_told(made_of(one, two)).values()


def test_wheel_layers_are_called_by_what_they_hold() -> None:
    tool = replace(UV, location="mirror.example/uv:0.13.4-python3.11-trixie-slim")
    layers = tuple(WheelLayer((pin,), tool, "3.11", AMD64, "/opt/venv") for pin in (NUMPY, SIX))
    found = steps_told(made_of(Pinned((NUMPY, SIX), "layers", layers=layers), Command(shell="true")))
    assert ["wheel: numpy 2.3.0", "wheel: six 1.0"] in found.values()


def test_an_image_by_a_dockerfile_has_a_history_of_its_own() -> None:
    image = replace(made_of(), base=None)
    assert steps_told(image) == {}
    assert layers_upon_base(image) == ()


def test_what_lies_on_a_base_comes_in_its_order() -> None:
    tool = replace(UV, location="mirror.example/uv:0.13.4-python3.11-trixie-slim")
    layers = tuple(WheelLayer((pin,), tool, "3.11", AMD64, "/opt/venv") for pin in (NUMPY, SIX))
    files = Copy(file_tree("a", "ab" * 32, 1), "/srv")
    image = made_of(Pinned((NUMPY, SIX), "layers", layers=layers), Command(shell="true"), files)
    uv, venv = (step.layer.summary for step in image.steps[:2])
    wheels = ("wheel: numpy 2.3.0", "wheel: six 1.0")
    copied = files.summary
    assert layers_upon_base(image) == (uv, venv, *wheels, "run: true", copied)
    assert layers_upon_base(put_on_top(image)) == (uv, *wheels, "run: true", copied)
