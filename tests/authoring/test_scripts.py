"""Scripts with their dependencies in themselves."""

import re
from pathlib import Path
from typing import Any

import pytest

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.scripts import LocalProject, check_python, dependencies, metadata, uv_options
from flytebuild.authoring.site import Site
from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.layers import PipOptions

SITE = Site("env", "`from_uv_script` layer", "main.py:3")
BLOCK = '# /// script\n# dependencies = ["a"]\n# ///'


def header(folder: Path, text: str) -> dict[str, Any]:
    (folder / "s.py").write_bytes(text.encode())
    return dict(metadata(folder / "s.py", HostFiles(), SITE))


def refusal(problem: str) -> "pytest.RaisesExc[UnsupportedImageError]":
    return pytest.raises(UnsupportedImageError, match=re.escape(problem))


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        BLOCK + "\n",
        "\ufeff" + BLOCK + "\n",
        "#!/usr/bin/env python\n\n" + BLOCK + "\nimport a\n",
        BLOCK.replace("\n", "\r\n") + "\r\n",
        '# /// script\n#\n# dependencies = [\n#   "a",\n# ]\n#\n# ///\n',
        "# /// other\n# x = 1\n# ///\n\n" + BLOCK,
        BLOCK + "\n\n# /// tool-x\n# ///\n# ///\n",
        "# /// script\n# not closed\n\n" + BLOCK,
        'text = """\n' + BLOCK + '\n"""\n',
    ],
)
def test_the_block_of_the_standard(tmp_path: Path, text: str) -> None:
    assert header(tmp_path, text) == {"dependencies": ["a"]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import a\n", "has no `# /// script` block"),
        ("# /// script\n# ///\n", "has no `# /// script` block"),
        (BLOCK.replace("script\n", "script \n"), "has no `# /// script` block"),
        (BLOCK + " ", "has no `# /// script` block"),
        (BLOCK.replace("# dep", "#dep"), "has no `# /// script` block"),
        (BLOCK.replace("# dep", "\n# dep"), "has no `# /// script` block"),
        (" " + BLOCK, "has no `# /// script` block"),
        (BLOCK.replace("script", "other"), "has no `# /// script` block"),
        (BLOCK + "\n\n" + BLOCK, "has more than one `# /// script` block"),
        (BLOCK + "\n" + BLOCK, "is not TOML"),
        ("# /// script\n# a = \n# ///", "is not TOML"),
        ('# /// script\n# dependencies = "a"\n# ///', "`dependencies` of `{0}` is not a list of strings"),
        ("# /// script\n# dependencies = [1]\n# ///", "`dependencies` of `{0}` is not a list of strings"),
        ("# /// script\n# requires-python = 3.11\n# ///", "`requires-python` of `{0}` is not a string"),
        ("# /// script\n# tool = 1\n# ///", "`[tool.uv]` of `{0}` is not a table"),
        ("# /// script\n# tool.uv = 1\n# ///", "`[tool.uv]` of `{0}` is not a table"),
        ('# /// script\n# dependencies = ["a @ https://me:s3cret@h/a"]\n# ///', "has a URL with credentials"),
    ],
)
def test_what_is_no_block(tmp_path: Path, text: str, problem: str) -> None:
    with refusal(problem.format(tmp_path / "s.py")) as caught:
        header(tmp_path, text)
    assert caught.value.message.startswith("The `from_uv_script` layer of environment `env` (main.py:3): ")
    assert "s3cret" not in f"{caught.value.message}{caught.value.hint}"


def test_a_missing_script(tmp_path: Path) -> None:
    with refusal(f"file `{tmp_path / 's.py'}` does not exist"):
        metadata(tmp_path / "s.py", HostFiles(), SITE)


@pytest.mark.parametrize(
    ("wanted", "version", "is_accepted"),
    [
        (None, (3, 11), True),
        (">=3.9", None, True),
        (">=3.11", (3, 11), True),
        (">=3.11", (3, 10), False),
        ("<3.12", (3, 11), True),
        ("<3.12", (3, 12), False),
        ("==3.11.*", (3, 11), True),
        ("~=3.10", (3, 13), True),
        ("~=3.10.2", (3, 11), False),
        (">3.11.4,<3.11.9", (3, 11), True),
        ("==3.11.5", (3, 11), True),
        ("==3.11", (3, 11), True),
        ("!=3.11.0", (3, 11), True),
        ("!=3.11.*", (3, 11), False),
    ],
)
def test_the_python_that_a_script_requires(
    wanted: str | None, version: tuple[int, int] | None, is_accepted: bool
) -> None:
    table = {"requires-python": wanted} if wanted else {}
    if is_accepted:
        check_python(table, version, Path("s.py"), SITE)
        return
    assert version is not None
    with refusal(f"`s.py` requires Python `{wanted}`, and the image has {version[0]}.{version[1]}") as caught:
        check_python(table, version, Path("s.py"), SITE)
    assert "`python_version`" in (caught.value.hint or "")


def test_a_requirement_of_python_that_means_nothing() -> None:
    with refusal("`requires-python` of `s.py` is `three`, which is not a version specifier"):
        check_python({"requires-python": "three"}, (3, 11), Path("s.py"), SITE)


def options(folder: Path, uv: str, given: PipOptions = PipOptions()) -> PipOptions:  # noqa: B008 - immutable
    text = "\n".join(f"# {line}" for line in uv.splitlines())
    return uv_options(header(folder, f"# /// script\n{text}\n# ///\n"), given, Path("s.py"), SITE)


def test_indexes(tmp_path: Path) -> None:
    text = """
[[tool.uv.index]]
name = "one"
url = "https://one/simple"
[[tool.uv.index]]
url = "https://two/simple"
default = true
[[tool.uv.index]]
url = "https://three/simple"
format = "simple"
explicit = false
"""
    extra = ("https://one/simple", "https://three/simple")
    assert options(tmp_path, text) == PipOptions(index_url="https://two/simple", extra_index_urls=extra)
    given = PipOptions(index_url="https://mine", extra_index_urls=("https://more",), pre=True)
    assert options(tmp_path, text, given) == PipOptions(
        index_url="https://mine", extra_index_urls=("https://more", *extra), pre=True
    )


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ('"2024-01-02"', "2024-01-02"),
        ('"30 days"', "'30 days'"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05+00:00"),
    ],
)
def test_exclude_newer(tmp_path: Path, written: str, date: str) -> None:
    found = options(tmp_path, f"[tool.uv]\nexclude-newer = {written}", PipOptions(extra_args="--no-deps"))
    assert found == PipOptions(extra_args=f"--no-deps --exclude-newer {date}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[tool.uv.sources]\na = { path = "a" }', "`sources` in `[tool.uv]` of `s.py` cannot be honoured"),
        ('[[tool.uv.index]]\nname = "a"', "`s.py` has an index without a URL"),
        ('[[tool.uv.index]]\nurl = "./index"', "`s.py` has an index without a URL"),
        ('[[tool.uv.index]]\nurl = "https://a"\nexplicit = true', "`s.py` has an index that is `explicit`"),
        ('[[tool.uv.index]]\nurl = "https://a"\nformat = "flat"', "`format` of an index of `s.py` cannot be honoured"),
        ('[tool.uv]\nindex = "https://a"', "`index` in `[tool.uv]` of `s.py` is not a list of tables"),
    ],
)
def test_what_cannot_be_honoured(tmp_path: Path, text: str, problem: str) -> None:
    with refusal(problem):
        options(tmp_path, text)


def depended(text: str, version: tuple[int, int] | None = (3, 11)) -> tuple[list[str], list[LocalProject]]:
    return dependencies({"dependencies": [text]}, version, Path("s.py"), SITE)


@pytest.mark.parametrize(
    ("text", "path", "name", "extras"),
    [
        ("a @ file:///x/a", "/x/a", "a", ""),
        ("A_b@file:///x", "/x", "A_b", ""),
        ("file:///x", "/x", "", ""),
        ("a @ FILE:///x", "/x", "a", ""),
        ("a @ file:/x", "/x", "a", ""),
        ("a @ file://localhost/x", "/x", "a", ""),
        ("a @ file:///my%20tools/100%25%23", "/my tools/100%#", "a", ""),
        ("a @ file:///my tools", "/my tools", "a", ""),
        ("a @ file://./x", "x", "a", ""),
        ("a [Gpu, one_Two] @ file:///x", "/x", "a", "gpu one-two"),
        ("a @ file:///x#subdirectory=p/q", "/x/p/q", "a", ""),
        ("a @ file:///x#egg=a&subdirectory=p", "/x/p", "a", ""),
        ("a @ file:///x ; python_version < '3.12'", "/x", "a", ""),
        ("file:///x ;os_name == 'posix' and (python_version == '3.11' or extra == 'b')", "/x", "", ""),
    ],
)
def test_a_project_of_this_machine(text: str, path: str, name: str, extras: str) -> None:
    assert depended(text) == ([], [LocalProject(Path(path), name, tuple(extras.split()))])


@pytest.mark.parametrize(
    "marker", ["python_version >= '3.12'", "sys_platform == 'win32'", "platform_python_implementation != 'CPython'"]
)
def test_a_project_that_a_marker_leaves_out(marker: str) -> None:
    assert depended(f"a @ file:///x ; {marker}") == ([], [])


def test_markers_are_those_of_the_image_s_python() -> None:
    text = "a @ file:///x ; python_version >= '3.12'"
    assert [len(depended(text, version)[1]) for version in ((3, 11), (3, 13), None)] == [0, 1, 0]


@pytest.mark.parametrize("text", ["a", "a ; python_version < '3'", "a @ https://h/file:/x", "git+ssh://h/x", "./x"])
def test_what_is_left_to_uv(text: str) -> None:
    assert depended(text) == ([text], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a @ git+file:///x", "is a repository of this machine, which the image does not have"),
        ("a @ file:///x ; platform_machine == 'x86_64'", "depends on `platform_machine`, which is known only when"),
        ("a @ file:///x ; python_full_version > '3.11.2'", "depends on `python_full_version`, which is known only"),
        ("a @ file:///x ; no marker", "has a marker that is none"),
        ("a @ file://", "names no folder"),
    ],
)
def test_projects_of_this_machine_that_are_refused(text: str, problem: str) -> None:
    with refusal(f"`{text}` of `s.py` {problem}"):
        depended(text)
