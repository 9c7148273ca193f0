"""Scripts with their dependencies in themselves."""

import re
from pathlib import Path
from typing import Any

import pytest

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.scripts import check_python, metadata, uv_options
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
