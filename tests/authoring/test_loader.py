"""Importing users' files. Each test imports in a process of its own: modules and environments are process-wide."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

LOAD = Path(__file__).with_name("load_and_print.py")

ENVIRONMENT = """
import flyte
env = flyte.TaskEnvironment(name="{name}")

@env.task
def {task}() -> int:
    return 1
"""


def load(folder: Path, *paths: str, targets: tuple[str, ...] = ()) -> object:
    command = [sys.executable, str(LOAD), json.dumps(targets), *paths]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def test_the_example_is_loaded_once_from_a_folder_and_from_its_main_file() -> None:
    example = Path(__file__).parents[2] / "examples" / "alphafold2"
    expected = [
        ["fold_env", ["fold_env.run_fold"], []],
        ["msa_env", ["msa_env.run_msa"], []],
        ["multi_env", ["multi_env.main"], ["fold_env", "msa_env"]],
    ]
    assert load(example, ".", targets=("main",)) == expected
    assert load(example, "main.py", targets=("multi_env",)) == expected
    assert load(example, "main.py", targets=("run_msa",)) == [expected[1]]
    assert load(example, "fold/run.py") == [expected[0]]


def test_folders_are_searched_for_files_that_import_flyte(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=ENVIRONMENT.format(name="a", task="t"),
        sub__b=ENVIRONMENT.format(name="b", task="t"),
        bare="raise SystemExit('a script that has nothing to do with flyte')",
        build__c=ENVIRONMENT.format(name="c", task="t"),
    )
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    write(tmp_path / "venv", d=ENVIRONMENT.format(name="d", task="t"))
    write(tmp_path / ".hidden", e=ENVIRONMENT.format(name="e", task="t"))
    assert [item[0] for item in load(tmp_path, ".")] == ["a", "b"]  # type: ignore[attr-defined, index]


def test_a_failing_import_shows_the_user_s_frames_only(tmp_path: Path) -> None:
    write(tmp_path, broken="import flyte\ndef inner():\n    return 1 / 0\ninner()\n")
    error = load(tmp_path, "broken.py")
    assert isinstance(error, dict)
    assert error["type"] == "LoadError"
    assert error["message"] == "`broken.py` fails to import: ZeroDivisionError: division by zero"
    assert "return 1 / 0" in error["trace"]
    assert "flytebuild" not in error["trace"]
    assert "importlib" not in error["trace"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import flyte\nimport no_such_module_at_all\n",
            "ModuleNotFoundError: No module named 'no_such_module_at_all'",
        ),
        ("import flyte\ndef (:\n", "SyntaxError: invalid syntax"),
        ("import flyte\nraise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_whatever_a_module_raises_is_its_own(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, broken=text)
    error = load(tmp_path, ".")
    assert isinstance(error, dict)
    assert message in error["message"]


def test_two_environments_of_one_name_name_both_files(tmp_path: Path) -> None:
    write(tmp_path, one=ENVIRONMENT.format(name="same", task="a"), two=ENVIRONMENT.format(name="same", task="b"))
    error = load(tmp_path, ".")
    assert isinstance(error, dict)
    assert error["type"] == "DuplicateEnvironmentError"
    assert error["message"] == "Environment `same` is defined in `one.py` and in `two.py`"


def test_a_cycle_is_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        loop="""
        import flyte
        a = flyte.TaskEnvironment(name="a")
        b = flyte.TaskEnvironment(name="b", depends_on=[a])
        a.add_dependency(b)
        """,
    )
    error = load(tmp_path, "loop.py")
    assert isinstance(error, dict)
    assert error["message"] == "`depends_on` forms a cycle: a → b → a"


def test_unknown_and_ambiguous_targets(tmp_path: Path) -> None:
    write(tmp_path, one=ENVIRONMENT.format(name="one", task="train"), two=ENVIRONMENT.format(name="two", task="train"))
    unknown = load(tmp_path, ".", targets=("trian",))
    assert isinstance(unknown, dict)
    assert unknown["message"] == "No task or environment is called `trian`"
    assert unknown["hint"] == "did you mean `train`?"
    ambiguous = load(tmp_path, ".", targets=("train",))
    assert isinstance(ambiguous, dict)
    assert ambiguous["hint"] == "use one of `one.train`, `two.train`"
    assert load(tmp_path, ".", targets=("two.train",)) == [["two", ["two.train"], []]]


def test_odd_files_in_a_folder_are_passed_over_and_named_ones_refused(tmp_path: Path) -> None:
    write(tmp_path, a=ENVIRONMENT.format(name="a", task="t"))
    (tmp_path / ".#lock.py").symlink_to("nowhere")
    (tmp_path / "gone.py").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("import flyte")
    assert load(tmp_path, ".") == [["a", ["a.t"], []]]
    error = load(tmp_path, "notes.txt")
    assert isinstance(error, dict)
    assert error["message"] == "`notes.txt` is not a Python file"


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    error = load(tmp_path, "nowhere.py")
    assert isinstance(error, dict)
    assert error["message"] == "`nowhere.py` does not exist"


def test_a_file_that_shadows_an_installed_module_is_not_mistaken_for_it(tmp_path: Path) -> None:
    write(tmp_path, json=ENVIRONMENT.format(name="a", task="t"))
    error = load(tmp_path, "json.py")
    assert isinstance(error, dict)
    assert error["message"].startswith("`json.py` cannot be imported as `json`")
