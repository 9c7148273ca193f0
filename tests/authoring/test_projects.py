"""What belongs to uv, Poetry and pixi projects, and locks that do not belong to them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from flytebuild.authoring import projects
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.site import Site
from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.layers import LocalPackage
from tests.authoring.wheel import make_wheel

SITE = Site("env", "`with_uv_project` layer", "main.py:3")
BUILD = '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def uv_packages(folder: Path, lock: str | None = "uv.lock") -> dict[str, list[str]]:
    """The local packages of the project in `folder`, and the files in each."""
    files = HostFiles()
    manifest = folder / "pyproject.toml"
    project = projects.toml(manifest, files, SITE)
    locked = projects.toml(folder / lock, files, SITE) if lock else None
    if locked is not None and lock:
        projects.check_uv_lock(project, locked, folder / lock, manifest, SITE)
    return listed(projects.uv_packages(manifest, project, locked, files, SITE))


def listed(packages: tuple[LocalPackage, ...]) -> dict[str, list[str]]:
    found = {package.path: [entry.path for entry in package.tree.entries if entry.is_file] for package in packages}
    assert len(found) == len(packages)
    assert list(found) == sorted(found)
    return found


def refusal(problem: str) -> "pytest.RaisesExc[UnsupportedImageError]":
    return pytest.raises(UnsupportedImageError, match=re.escape(problem))


def uv(folder: Path, *arguments: str) -> str:
    found = subprocess.run(
        [find_uv_bin(), *arguments, "--offline", "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr
    return found.stderr


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace of three members with its lock, made by the real uv."""
    settings = '[tool.uv]\nno-index = true\nfind-links = ["./wheels"]\n'
    member = BUILD + '[project]\nname = "{}"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = {}\n'
    make_wheel(tmp_path / "wheels", "dep")
    make_wheel(tmp_path / "wheels", "other")
    written(
        tmp_path,
        {
            "pyproject.toml": member.format("whole", "['other', 'beside ; os_name == \"posix\"']")
            + settings
            + 'workspace = { members = ["packages/*"], exclude = ["packages/old"] }\n'
            + "[tool.uv.sources]\ntwo = { workspace = true }\n"
            + "beside = [{ path = 'beside', marker = \"os_name == 'posix'\" }]\n",
            "src/whole/__init__.py": "",
            "packages/one/pyproject.toml": member.format("one", '["two", "dep"]'),
            "packages/one/src/one/__init__.py": "",
            "packages/two/pyproject.toml": member.format("two", "[]"),
            "packages/two/src/two/__init__.py": "",
            "packages/old/pyproject.toml": member.format("old", "[]"),
            "packages/notes.md": "",
            "beside/pyproject.toml": member.format("beside", "[]"),
            "beside/src/beside/__init__.py": "",
        },
    )
    uv(tmp_path, "lock")
    return tmp_path


WORKSPACE = {
    "beside": ["pyproject.toml", "src/beside/__init__.py"],
    "packages/one": ["pyproject.toml", "src/one/__init__.py"],
    "packages/two": ["pyproject.toml", "src/two/__init__.py"],
    "wheels": ["dep-1.0-py3-none-any.whl", "other-1.0-py3-none-any.whl"],
}


class TestUv:
    def test_what_a_lock_takes_from_this_machine(self, workspace: Path) -> None:
        assert uv_packages(workspace) == WORKSPACE

    def test_without_a_lock_the_manifest_says_it(self, workspace: Path) -> None:
        (workspace / "wheels" / "notes.md").write_text("")
        assert uv_packages(workspace, None) == WORKSPACE

    def test_uv_needs_no_more_than_that(self, workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        copy = tmp_path_factory.mktemp("image")
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copy(workspace / name, copy)
        for path, names in uv_packages(workspace).items():
            for name in names:
                (copy / path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(workspace / path / name, copy / path / name)
        for arguments in ((), ("--package", "one"), ("--all-packages",)):
            command = ("sync", "--locked", "--dry-run", "--no-install-project", *arguments)
            planned = [
                sorted(line for line in uv(folder, *command).replace(f"{folder}/", "").splitlines() if " + " in line)
                for folder in (workspace, copy)
            ]
            assert planned[0] == planned[1] != []

    def test_a_member_of_a_workspace_is_installed_from_the_workspace(self, workspace: Path) -> None:
        files = HostFiles()
        manifest = workspace / "packages" / "one" / "pyproject.toml"
        project, lock = projects.toml(manifest, files, SITE), projects.toml(workspace / "uv.lock", files, SITE)
        with refusal(f"`{manifest}` is a member of the workspace that `{workspace / 'uv.lock'}` belongs to") as caught:
            projects.check_uv_lock(project, lock, workspace / "uv.lock", manifest, SITE)
        assert '`pyproject.toml`, with `extra_args="--package one"`' in (caught.value.hint or "")

    def test_a_workspace_without_a_project(self, tmp_path: Path) -> None:
        written(
            tmp_path,
            {
                "pyproject.toml": '[tool.uv.workspace]\nmembers = ["a"]',
                "a/pyproject.toml": '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.10"',
            },
        )
        uv(tmp_path, "lock")
        assert uv_packages(tmp_path) == {"a": ["pyproject.toml"]}

    def test_sources_of_sources(self, tmp_path: Path) -> None:
        written(
            tmp_path / "p",
            {
                "pyproject.toml": '[tool.uv.sources]\na = { path = "../a" }\ngit = { git = "https://x/y" }',
                "../a/pyproject.toml": '[tool.uv.sources]\nb = { path = "more/b" }\na = { path = "." }',
                "../a/more/b/pyproject.toml": '[tool.uv.sources]\na = { path = "../.." }',
            },
        )
        found = uv_packages(tmp_path / "p", None)
        assert list(found) == ["../a", "../a/more/b"]

    def test_archives_of_one_folder_are_one_tree(self, tmp_path: Path) -> None:
        for name in "abc":
            make_wheel(tmp_path / "wheels", name)
        make_wheel(tmp_path, "d")
        sources = "".join(f'{name} = {{ path = "wheels/{name}-1.0-py3-none-any.whl" }}\n' for name in "ab")
        written(tmp_path, {"pyproject.toml": f'[tool.uv.sources]\n{sources}d = {{ path = "d-1.0-py3-none-any.whl" }}'})
        assert uv_packages(tmp_path, None) == {
            ".": ["d-1.0-py3-none-any.whl"],
            "wheels": ["a-1.0-py3-none-any.whl", "b-1.0-py3-none-any.whl"],
        }

    def test_indexes_that_are_elsewhere(self, tmp_path: Path) -> None:
        written(
            tmp_path,
            {
                "pyproject.toml": """
[tool.uv]
find-links = ["https://a/links.html"]
[[tool.uv.index]]
url = "https://b/simple"
[[tool.uv.index]]
url = "local"
format = "flat"
""",
                "local/a.whl": "",
            },
        )
        assert uv_packages(tmp_path, None) == {"local": ["a.whl"]}

    def test_a_dependency_that_a_marker_leaves_out_need_not_be_locked(self, tmp_path: Path) -> None:
        written(
            tmp_path,
            {
                "pyproject.toml": """
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["pywin32 ; sys_platform == 'win32'"]
[tool.uv]
environments = ["sys_platform == 'linux'"]
"""
            },
        )
        uv(tmp_path, "lock")
        assert uv_packages(tmp_path) == {}

    @pytest.mark.parametrize(
        ("project", "lock", "why"),
        [
            ('name = "My.Proj"', '[[package]]\nname = "other"', "it has no package `my-proj`"),
            ('name = "p"\ndependencies = ["a", "B.c>1"]', '[[package]]\nname = "p"\n[[package]]\nname = "a"', "`B.c`"),
        ],
    )
    def test_a_lock_of_another_project(self, tmp_path: Path, project: str, lock: str, why: str) -> None:
        written(tmp_path, {"pyproject.toml": f"[project]\n{project}", "uv.lock": lock})
        problem = f"`{tmp_path / 'uv.lock'}` does not belong to `{tmp_path / 'pyproject.toml'}`: "
        with refusal(problem) as caught:
            uv_packages(tmp_path)
        assert why in caught.value.message
        assert f"run `uv lock` in `{tmp_path}`" in (caught.value.hint or "")

    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("/opt/x", "the project depends on `/opt/x`, an absolute path"),
            ("~/x", "the project depends on `~/x`, an absolute path"),
            ("none", "the project depends on `none`, and `{0}/none` does not exist"),
            ("..", "the project depends on `..`, a folder that it lies in itself"),
            ("a/../../../", "the project depends on `../..`, a folder that it lies in itself"),
        ],
    )
    def test_paths_that_cannot_be_taken(self, tmp_path: Path, path: str, problem: str) -> None:
        written(tmp_path, {"pyproject.toml": f'[tool.uv.sources]\nx = {{ path = "{path}" }}'})
        with refusal(problem.format(tmp_path)):
            uv_packages(tmp_path, None)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('[[tool.uv.index]]\nurl = "https://me:s3cret@h/simple"', "line 2 of `{0}` has a URL with credentials"),
            ("[project", "`{0}` is not TOML"),
            ('[tool.uv.workspace]\nmembers = ["/x/*"]', "`/x/*` in the workspace of `{0}` is not a pattern"),
            ('[tool.uv.workspace]\nmembers = [""]', "`` in the workspace of `{0}` is not a pattern"),
            ('[[tool.uv.index]]\nurl = "none"', "the project depends on `none`, and"),
            ('[[tool.uv.index]]\nurl = "pyproject.toml"', "is not a folder of packages"),
        ],
    )
    def test_manifests_that_cannot_be_used(self, tmp_path: Path, text: str, problem: str) -> None:
        written(tmp_path, {"pyproject.toml": text})
        with refusal(problem.format(tmp_path / "pyproject.toml")) as caught:
            uv_packages(tmp_path, None)
        assert "s3cret" not in f"{caught.value.message}{caught.value.hint}"

    @pytest.mark.parametrize(
        "text",
        ["project = 1", "tool = []", '[project]\nname = 3\ndependencies = "a"', "tool.uv.sources = [1]", "[[project]]"],
    )
    def test_tables_of_the_wrong_shape_are_left_to_uv(self, tmp_path: Path, text: str) -> None:
        lock = '[[package]]\nname = 1\nsource = "x"\n'
        written(tmp_path, {"pyproject.toml": text, "uv.lock": lock, "poetry.lock": "package = 3"})
        assert uv_packages(tmp_path) == {}
        assert uv_packages(tmp_path, None) == {}
        assert poetry_packages(tmp_path) == {}

    def test_a_missing_manifest(self, tmp_path: Path) -> None:
        with refusal(f"file `{tmp_path / 'pyproject.toml'}` does not exist"):
            uv_packages(tmp_path)


def poetry_packages(folder: Path) -> dict[str, list[str]]:
    files = HostFiles()
    manifest, path = folder / "pyproject.toml", folder / "poetry.lock"
    project, lock = projects.toml(manifest, files, SITE), projects.toml(path, files, SITE)
    projects.check_poetry_lock(project, lock, path, manifest, SITE)
    return listed(projects.poetry_packages(manifest, lock, files, SITE))


class TestPoetry:
    def test_what_a_lock_takes_from_this_machine(self, tmp_path: Path) -> None:
        written(
            tmp_path / "p",
            {
                "pyproject.toml": """
[project]
name = "p"
dependencies = ["a>=1"]
[tool.poetry.dependencies]
Python = "^3.10"
B_b = { path = "../b", develop = true }
c = [{ version = "1", python = "<3.11" }, { version = "2", python = ">=3.11" }]
maybe = { version = "1", optional = true }
[tool.poetry.group.test.dependencies]
t = "*"
[tool.poetry.group.docs]
optional = true
dependencies = { docs = "*" }
""",
                "poetry.lock": """
[[package]]
name = "a"
source = { type = "git", url = "https://x/a.git", reference = "main" }
[[package]]
name = "b-b"
source = { type = "directory", url = "../b" }
[[package]]
name = "c"
source = { type = "legacy", url = "https://x/simple", reference = "x" }
[[package]]
name = "f"
source = { type = "file", url = "wheels/f-1.0-py3-none-any.whl" }
[[package]]
name = "g"
source = { type = "file", url = "wheels/g-1.0-py3-none-any.whl" }
[[package]]
name = "t"
source = { type = "url", url = "https://x/t.whl" }
""",
                "../b/b.py": "",
            },
        )
        for name in "fgh":
            make_wheel(tmp_path / "p" / "wheels", name)
        wheels = ["f-1.0-py3-none-any.whl", "g-1.0-py3-none-any.whl"]
        assert poetry_packages(tmp_path / "p") == {"../b": ["b.py"], "wheels": wheels}

    @pytest.mark.parametrize(
        "table", ["[tool.poetry.dependencies]\nzz = '1'", "[tool.poetry.group.x.dependencies]\nzz = '1'"]
    )
    def test_a_lock_of_another_project(self, tmp_path: Path, table: str) -> None:
        written(tmp_path, {"pyproject.toml": table, "poetry.lock": '[[package]]\nname = "a"'})
        with refusal("does not belong to") as caught:
            poetry_packages(tmp_path)
        assert caught.value.message.endswith("it has no package `zz`")
        assert "`poetry lock`" in (caught.value.hint or "")


def pixi_packages(manifest: Path) -> dict[str, list[str]]:
    files = HostFiles()
    return listed(projects.pixi_packages(manifest, projects.toml(manifest, files, SITE), files, SITE))


PIXI = """
[{0}pypi-dependencies]
a = {{ path = "a", editable = true }}
self = {{ path = "." }}
numpy = ">=1"
[{0}dependencies]
python = "3.11.*"
[{0}pypi-options]
find-links = [{{ path = "wheels" }}, {{ url = "https://x" }}]
[{0}feature.cuda.pypi-dependencies]
b = {{ path = "./b/" }}
[{0}feature.cuda.target.linux-64.dependencies]
c = {{ path = "c" }}
[{0}target.osx-arm64.pypi-dependencies]
d = {{ path = "wheels/d-1.0-py3-none-any.whl" }}
[{0}package.run-dependencies]
e = {{ path = "e" }}
"""


@pytest.mark.parametrize(("name", "prefix"), [("pixi.toml", ""), ("pyproject.toml", "tool.pixi.")])
def test_what_a_pixi_manifest_takes_from_this_machine(tmp_path: Path, name: str, prefix: str) -> None:
    for folder in "abce":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.py").write_text("")
    wheel = make_wheel(tmp_path / "wheels", "d")
    (tmp_path / name).write_text(PIXI.format(prefix))
    expected = {folder: [f"{folder}.py"] for folder in "abce"}
    assert pixi_packages(tmp_path / name) == {**expected, "wheels": [wheel.name]}


@pytest.mark.parametrize("mode", ["dependencies_only", "install_project"])
def test_the_tree_of_a_project(tmp_path: Path, mode: projects.Mode) -> None:
    written(tmp_path, {"p/pyproject.toml": "[project]", "p/a.py": "", "p/uv.lock": "old", "locks/my.lock": "new"})
    files = HostFiles()
    tree = projects.tree_of(
        tmp_path / "p" / "pyproject.toml", tmp_path / "locks" / "my.lock", "uv.lock", mode, files, SITE
    )
    alone = ["pyproject.toml", "uv.lock"]
    assert [entry.path for entry in tree.entries] == (alone if mode == "dependencies_only" else ["a.py", *alone])
    assert os.path.realpath(tmp_path / "locks" / "my.lock") == files.roots[tree.digest].moved["uv.lock"]
    assert tree.by_path["uv.lock"].size == len("new")
