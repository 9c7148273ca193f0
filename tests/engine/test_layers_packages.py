"""Python packages: by name, by file, from indexes and from folders of wheels."""

from __future__ import annotations

import secrets
from pathlib import Path

import flyte
import pytest
from flyte._image import PythonWheels

from tests.engine import packages
from tests.engine.building import Builds, Built

pytestmark = pytest.mark.engine

BESIDE = '[tool.uv.sources]\nlibrary = { path = "../library" }\n'
SCRIPT = """# /// script
# requires-python = ">=3.10"
# dependencies = [
#   "scripted",
#   "local_tool[more] @ file://localhost{folder} ; python_version < '3.12'",
#   "other_tool @ file:///nowhere ; python_version >= '3.12'",
#   "from_wheel @ file://{wheel}",
# ]
# [[tool.uv.index]]
# url = "file:///index/two/simple"
# [[tool.uv.index]]
# url = "file:///index/one/simple"
# ///
print("script")
"""


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("indexes")
    packages.index(top / "one", ("alpha", "1.0"), ("alpha", "2.0b1"), ("both", "1.0"), ("scripted", "5.0"))
    packages.index(top / "two", ("beta", "3.0"), ("both", "9.0"))
    packages.index(top / "s3cr3t", ("hidden", "4.0"))
    return top


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requirements files that refer to each other, to a wheel and to a folder."""
    top = tmp_path_factory.mktemp("requirements")
    packages.wheel(top / "wheels", "from_wheel", "1.5")
    packages.wheel(top / "dist", "ours", "2.0", "six")
    packages.wheel(top / "dist", "other", "1.0")
    packages.source(top / "library", "library")
    # It leaves an `egg-info` and a `build` where the source is.
    packages.source(top / "writing", "writing", backend="setuptools.build_meta")
    (top / "app").mkdir()
    (top / "app" / "requirements.txt").write_text(
        "# what the app needs\n-r ../shared/base.txt\n-c ../shared/bounds.txt\n"
        "../wheels/from_wheel-1.5-py3-none-any.whl\n./../library\n../writing\n"
    )
    (top / "shared").mkdir()
    (top / "shared" / "base.txt").write_text("six  # any\n-r more.txt\n")
    (top / "shared" / "more.txt").write_text("iniconfig\n")
    (top / "shared" / "bounds.txt").write_text("six==1.15.0\niniconfig<2\n")
    return top


@pytest.fixture(scope="module")
def images(builds: Builds, indexes: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    base = builds.base
    indexed = base.with_source_folder(indexes, "/index", copy_contents_only=True)
    one, two = "file:///index/one/simple", "file:///index/two/simple"
    wheels = PythonWheels(wheel_dir=folder / "dist", package_name="ours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROUP_PLACE", "s3cr3t")
        return builds.build(
            {
                "named": base.with_pip_packages("six==1.16.0", "Iniconfig >= 2,<3"),
                "index": indexed.with_pip_packages("alpha", "both", index_url=one),
                "pre": indexed.with_pip_packages("alpha", index_url=one, pre=True),
                "several": indexed.with_pip_packages("alpha", "beta", "both", index_url=one, extra_index_urls=[two]),
                "arguments": indexed.with_pip_packages(
                    "both", "beta", index_url=one, extra_args="--find-links /index/two/simple/beta $(echo -v)"
                ),
                "secret": indexed.with_pip_packages(
                    "hidden",
                    index_url="file:///index/${GROUP_PLACE}/simple",
                    secret_mounts=[flyte.Secret(key="place", group="group")],
                ),
                "requirements": base.with_requirements(folder / "app" / "requirements.txt"),
                "wheels": base.clone(addl_layer=wheels),
            }
        )


def versions(image: Built, *names: str) -> list[str]:
    text = "from importlib.metadata import version; import sys; [print(version(name)) for name in sys.argv[1:]]"
    return image.run("-c", text, *names, entrypoint=["/opt/venv/bin/python"]).splitlines()


def test_packages_by_name(images: dict[str, Built]) -> None:
    image = images["named"]
    six, iniconfig = versions(image, "six", "iniconfig")
    assert (six, iniconfig[0]) == ("1.16.0", "2")
    assert image.sh("id -un; python -c 'import six; print(six.__file__)'") == [
        "flyte",
        "/opt/venv/lib/python3.11/site-packages/six.py",
    ]


@pytest.mark.parametrize("name", ["named", "requirements", "wheels"])
def test_installing_leaves_the_packages_and_nothing_else(images: dict[str, Built], name: str) -> None:
    image = images[name]
    assert image.added_outside("/opt/venv") == set()
    folders = {path for path, member in image.added.items() if member.kind == "dir"}
    assert {path for path in folders if not path.startswith("/opt/venv/lib")} <= {
        *("/dev", "/opt", "/opt/venv", "/run", "/tmp", "/root")
    }


@pytest.mark.parametrize("name", ["named", "requirements", "wheels"])
def test_what_is_installed_is_compiled_and_known_by_content(images: dict[str, Built], name: str) -> None:
    image = images[name]
    sources = {path for path in image.added if path.endswith(".py") and path.startswith("/opt/venv/lib/")}
    assert image.bytecode == dict.fromkeys(sources, 1)
    assert "PYC_INVALIDATION_MODE" not in image.env
    used = image.run("-vc", "import six", entrypoint=["/opt/venv/bin/python"])
    assert "code object from '/opt/venv/lib/python3.11/site-packages/__pycache__/six.cpython-311.pyc'" in used


def test_an_index_of_the_user_s_replaces_pypi(images: dict[str, Built]) -> None:
    assert versions(images["index"], "alpha", "both") == ["1.0", "1.0"]
    assert versions(images["pre"], "alpha") == ["2.0b1"]


def test_extra_indexes_come_first(images: dict[str, Built]) -> None:
    assert versions(images["several"], "alpha", "beta", "both") == ["1.0", "3.0", "9.0"]


def test_extra_arguments_are_shell_text(images: dict[str, Built]) -> None:
    assert versions(images["arguments"], "both", "beta") == ["1.0", "3.0"]


def test_a_secret_in_an_index_s_url(images: dict[str, Built]) -> None:
    assert versions(images["secret"], "hidden") == ["4.0"]


def test_a_requirements_file_with_all_that_it_refers_to(images: dict[str, Built]) -> None:
    image = images["requirements"]
    six, iniconfig, *local = versions(image, "six", "iniconfig", "from_wheel", "library")
    assert (six, iniconfig[0], local) == ("1.15.0", "1", ["1.5", "1.2.3"])
    assert image.sh("python -c 'import library, writing; print(library.where, writing.where)'") == [
        "/opt/venv/lib/python3.11/site-packages/library/__init__.py "
        "/opt/venv/lib/python3.11/site-packages/writing/__init__.py"
    ]


def test_a_local_package_is_what_it_is_now(builds: Builds, folder: Path) -> None:
    """Also where only a file changed whose time means nothing to uv, and only that was sent."""
    module = folder / "library" / "library" / "__init__.py"
    project = packages.source(folder / "project", "project", "library", extra=BESIDE)
    given = builds.base.with_requirements(folder / "app" / "requirements.txt")
    for _ in range(2):
        word = secrets.token_hex(8)
        module.write_text(f"where = __file__\nword = {word!r}\n")
        images = builds.build({"file": given, "project": builds.base.with_uv_project(project / "pyproject.toml")})
        for image in images.values():
            assert image.sh("python -c 'import library; print(library.word)'") == [word]


def test_a_package_from_a_folder_of_wheels(images: dict[str, Built]) -> None:
    image = images["wheels"]
    assert versions(image, "ours") == ["2.0"]
    assert image.sh("python -c 'import six, ours'; ! python -c 'import other' 2>/dev/null") == []


def test_a_script_s_own_requirements(builds: Builds, indexes: Path, tmp_path: Path) -> None:
    """On Flyte's own base: the one of `from_uv_script` is in tests of constructors."""
    more = '[project.optional-dependencies]\nmore = ["six"]\n'
    tool = packages.source(tmp_path / "the tool", "local_tool", extra=more)
    wheel = packages.wheel(tmp_path, "from_wheel", "1.5", "iniconfig")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(tool).replace(" ", "%20"), wheel=wheel))
    from flyte._image import UVScript

    base = builds.base.with_source_folder(indexes, "/index", copy_contents_only=True)
    layer = UVScript(script=script, index_url=None, extra_index_urls=None, pre=False, extra_args=None)
    image = builds.build({"script": base.clone(addl_layer=layer)})["script"]
    assert versions(image, "scripted", "local_tool", "from_wheel") == ["5.0", "1.2.3", "1.5"]
    assert image.sh("python -c 'import six, iniconfig'") == []
