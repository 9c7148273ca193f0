"""What a shell offers after Tab."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from flytebuild.cli.main import cli

MAIN = """
import sys

import flyte

print("a module that talks")
print("and complains", file=sys.stderr)
one = flyte.TaskEnvironment(name="{name}")
two = flyte.TaskEnvironment(name="other")


@one.task
def train() -> int:
    return 1


@one.task
def again() -> int:
    return 1


@two.task
def again() -> int:
    return 2
"""


def offered(*words: str) -> list[str]:
    """What is offered in the place of the last word."""
    completion = ShellComplete(cli, {}, "flytebuild", "_FLYTEBUILD_COMPLETE")
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_environments_and_tasks(folder: Path) -> None:
    (folder / "main.py").write_text(MAIN.format(name="first_env"))
    everything = ["first_env", "first_env.train", "first_env.again", "other", "other.again", "train"]
    assert sorted(offered("plan", "--for", "")) == sorted(everything)
    assert offered("build", "main.py", "--for", "tr") == ["train"]
    assert offered("shell", "oth") == ["other", "other.again"]


def test_those_of_the_file_that_is_named(folder: Path) -> None:
    (folder / "main.py").write_text(MAIN.format(name="here"))
    (folder / "elsewhere.py").write_text(MAIN.format(name="there"))
    assert offered("plan", "elsewhere.py", "--for", "here") == []
    assert offered("explain", "--in", "elsewhere.py", "there.t") == ["there.train"]


def test_those_of_other_files(folder: Path) -> None:
    (folder / "fold").mkdir()
    (folder / "fold/run.py").write_text('import flyte\nfold_env = flyte.TaskEnvironment("fold")\n')
    (folder / "main.py").write_text(
        "from flyte import TaskEnvironment\nfrom fold.run import fold_env\n"
        "env = TaskEnvironment(name='here')\nbig = env.clone_with(name='big')\n\n"
        "@fold_env.task(cache='auto')\nasync def fold(): ...\n\n@big.task\ndef large(): ...\n"
    )
    assert sorted(offered("plan", "--for", "")) == ["big", "big.large", "fold", "fold.fold", "here", "large"]


@pytest.mark.parametrize("text", ["import flyte, sys\nenv = flyte.TaskEnvironment(sys.argv[0])", "import flyte; 1 +"])
def test_what_the_text_does_not_tell_is_not_offered(folder: Path, text: str) -> None:
    (folder / "main.py").write_text(text)
    assert offered("plan", "--for", "") == []


def test_platforms() -> None:
    assert offered("build", "--platform", "") == ["linux/amd64", "linux/arm64"]
    assert offered("build", "--platform", "linux/ar") == ["linux/arm64"]


LOCK = """
version = 1
uv = "0.13.9"

[[image]]
reference = "ghcr.io/acme/base:1"
platform = "linux/amd64"
digest = "sha256:{digest}"

[[layer]]
asked = "pip: six"
environments = ["env"]
platform = "linux/amd64"
fingerprint = "1"
wheels = ["six-1.17.0-py2.py3-none-any.whl"]

[[wheel]]
name = "six"
version = "1.17.0"
filename = "six-1.17.0-py2.py3-none-any.whl"
sha256 = "{digest}"
url = "https://example.com/six-1.17.0-py2.py3-none-any.whl"
size = 11050
"""


def test_what_a_lock_lets_move(folder: Path) -> None:
    (folder / "main.py").write_text(MARKING)
    assert offered("lock", "--update", "") == []
    (folder / "flytebuild.lock").write_text(LOCK.format(digest="1" * 64))
    (folder / "other.lock").write_text(LOCK.format(digest="1" * 64).replace("six", "attrs"))
    assert offered("lock", "--update", "") == ["ghcr.io/acme/base:1", "six"]
    assert offered("lock", "--lock", "other.lock", "--update", "at") == ["attrs"]
    (folder / "flytebuild.lock").write_text("layer = 1")
    assert offered("lock", "--update", "") == []
    assert not (folder / "main.imported").exists()


def test_nothing_of_a_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "main.py").write_text(MAIN.format(name="here"))
    monkeypatch.setenv("HOME", str(folder))
    assert offered("plan", "--for", "") == []
    assert offered("plan", "main.py", "--for", "here.t") == ["here.train"]


def test_outputs_and_their_folders(folder: Path) -> None:
    for name in ("images/one", "images/two", "other"):
        (folder / name).mkdir(parents=True)
    (folder / "a-file").touch()
    assert offered("build", "--output", "o") == ["oci-archive:", "oci:"]
    assert offered("build", "--output", "oci:") == ["oci:images/", "oci:other/"]
    assert offered("build", "--output", "oci-archive:images/t") == ["oci-archive:images/two/"]


MARKING = """
from pathlib import Path

import flyte

Path(__file__).with_suffix(".imported").touch()
env = flyte.TaskEnvironment(name="marking")
"""


@pytest.mark.parametrize(
    "words", [("plan", "--for", ""), ("shell", ""), ("plan", ""), ("run", ""), ("build", "--progress", "")]
)
def test_no_code_is_run(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "main.py").write_text(MARKING)
    offered(*words)
    assert not (folder / "main.imported").exists()
