"""Where in the user's code layers and images were made."""

import gc
import importlib.util
import os
import re
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import flyte
import pytest

import flytebuild
from flytebuild.authoring.images import Reader, define
from flytebuild.authoring.site import Site, origin_of, record, recorded
from flytebuild.errors import UnsupportedImageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def run(file: Path, text: str) -> ModuleType:
    """The module of that text, imported while origins are recorded."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with recorded():
        spec.loader.exec_module(module)
    return module


def origins(image: flyte.Image) -> list[str]:
    return [origin_of(layer) for layer in image._layers]


def test_layers_and_images(folder: Path) -> None:
    text = """import flyte
base = flyte.Image.from_base("r/x:1").clone(name="x", extendable=True)
one = (
    base
    .with_pip_packages("a")
    .with_env_vars({"A": "1"})
)
two = one.with_workdir("/w").clone(
    name="y"
)
"""
    module = run(folder / "main.py", text)
    assert origins(module.two) == ["main.py:5", "main.py:6", "main.py:8"]
    assert origin_of(module.base) == "main.py:2"
    assert origin_of(module.one) == "main.py:6"
    assert origin_of(module.two) == "main.py:8"


def test_a_helper_in_another_module_and_a_loop(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "helper.py").write_text("def add(image, name):\n    return image.with_pip_packages(name)\n")
    text = """import flyte
from lib.helper import add
image = flyte.Image.from_debian_base(python_version=(3, 11), name="x")
for name in "ab":
    image = add(image, name)
"""
    module = run(folder / "main.py", text)
    assert origins(module.image) == ["lib/helper.py:2", "lib/helper.py:2"]
    assert origin_of(module.image) == "lib/helper.py:2"


def test_every_constructor(folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM x")
    (folder / "s.py").write_text('# /// script\n# dependencies = ["a"]\n# ///\n')
    text = """import flyte
images = [
    flyte.Image.from_base("x"),
    flyte.Image.from_ref_name("x"),
    flyte.Image.from_dockerfile("Dockerfile", "r", "n"),
    flyte.Image.from_uv_script("s.py", name="n"),
    flyte.Image.from_debian_base(install_flyte=False),
]
"""
    module = run(folder / "main.py", text)
    assert [origin_of(image) for image in module.images] == [f"main.py:{line}" for line in range(3, 8)]
    assert set(origins(module.images[-1])) == {"main.py:7"}


def test_two_images_that_share_a_layer(folder: Path) -> None:
    text = """import flyte
base = flyte.Image.from_base("x").clone(name="x", extendable=True).with_pip_packages("a")
one = base.with_env_vars({"A": "1"})
two = base.with_env_vars({"A": "1"})
three = two.clone(addl_layer=one._layers[-1])
"""
    module = run(folder / "main.py", text)
    assert module.one._layers[0] is module.two._layers[0]
    assert origins(module.one) == ["main.py:2", "main.py:3"]
    assert origins(module.two) == ["main.py:2", "main.py:4"]
    assert origins(module.three) == ["main.py:2", "main.py:4", "main.py:3"]


@pytest.mark.parametrize("name", ["flyte", "flytebuild"])
def test_a_folder_beside_the_sdk_or_us_whose_name_starts_like_theirs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    package = {"flyte": flyte, "flytebuild": flytebuild}[name]
    assert package.__file__ is not None
    beside = os.path.dirname(package.__file__) + "_examples/main.py"
    code = compile('import flyte\nimage = flyte.Image.from_base("x")', beside, "exec")
    names: dict[str, object] = {}
    with recorded():
        exec(code, names)
    assert origin_of(names["image"]).endswith(f"{name}_examples/main.py:2")


def test_code_without_a_file_counts_as_its_caller(folder: Path) -> None:
    module = run(folder / "main.py", "import flyte\nexec('image = flyte.Image.from_base(\"x\")')\n")
    assert origin_of(module.image) == "main.py:2"


def test_shown_relative_to_the_folder_that_is_current_when_it_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'import os, flyte\nos.chdir("/")\nimage = flyte.Image.from_base("x")\n'
    module = run(folder / "sub" / "main.py", text)
    assert origin_of(module.image) == f"{str(folder)[1:]}/sub/main.py:3"
    monkeypatch.chdir(folder)
    assert origin_of(module.image) == "sub/main.py:3"
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    assert origin_of(module.image) == f"{folder}/sub/main.py:3"


def test_the_sdk_is_as_before_whatever_happens(folder: Path) -> None:
    methods = flyte.Image.__dict__["clone"], flyte.Image.__dict__["_new"]
    with pytest.raises(KeyError), recorded(), recorded():
        raise KeyError
    assert (flyte.Image.__dict__["clone"], flyte.Image.__dict__["_new"]) == methods
    assert origin_of(flyte.Image.from_base("x")) == ""


def test_equality_and_digests_of_the_sdk_do_not_change(folder: Path) -> None:
    text = 'import flyte\nimage = flyte.Image.from_debian_base(name="x").with_pip_packages("a")\n'
    module = run(folder / "main.py", text)
    same = flyte.Image.from_debian_base(name="x").with_pip_packages("a")
    assert module.image == same
    assert hash(module.image) == hash(same)
    assert module.image.uri == same.uri
    assert repr(module.image) == repr(same)


def test_nothing_is_kept_alive(folder: Path) -> None:
    text = """import flyte
class Held: pass
def make(held):
    return flyte.Image.from_debian_base(name="x").with_pip_packages("a")
held = Held()
image = make(held)
"""
    module = run(folder / "main.py", text)
    held, image = weakref.ref(module.held), weakref.ref(module.image)
    module.__dict__.clear()
    gc.collect()
    assert held() is None
    assert image() is None


def test_an_error_says_where(folder: Path) -> None:
    text = """import flyte
image = flyte.Image.from_debian_base(name="x").with_pip_packages("a")
image = image.with_pip_packages("b=1")
"""
    module = run(folder / "main.py", text)
    place = "The `with_pip_packages` layer of environment `env` (main.py:3): `b=1` is not a requirement"
    with pytest.raises(UnsupportedImageError, match=re.escape(place)):
        define(module.image, "env")


def test_an_error_without_a_place() -> None:
    error = Site("env").error("it is empty", hint="fill it")
    assert (error.message, error.hint) == ("The image of environment `env`: it is empty", "fill it")


def test_without_a_line_the_file_is_named(folder: Path) -> None:
    """The SDK imports code before it asks its builder, and knows where environments are written."""
    image = flyte.Image.from_base("r/x:1").clone(name="x", extendable=True).with_pip_packages("a=2")
    with pytest.raises(
        UnsupportedImageError, match=r"^The `with_pip_packages` layer of environment `env` \(lib/main\.py\): "
    ):
        Reader().define(image, "env", str(folder / "lib/main.py"))


def test_for_as_long_as_the_process_lives(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {name: flyte.Image.__dict__[name] for name in ("clone", "_new")}
    monkeypatch.setattr("flytebuild.authoring.site._kept", [])
    try:
        record()
        noting = flyte.Image.__dict__["clone"]
        record()
        assert flyte.Image.__dict__["clone"] is noting
        assert origin_of(flyte.Image.from_base("r/x:1")).endswith(f"{Path(__file__).name}:{sys._getframe().f_lineno}")
    finally:
        for name, method in kept.items():
            setattr(flyte.Image, name, method)
