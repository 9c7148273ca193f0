"""Importing users' files. Each time in a process of its own: modules and environments are process-wide."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
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


Load = Callable[..., object]


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Loads paths of a folder; gives what `targets` need, or the error."""
    with subprocess.Popen(
        [sys.executable, str(LOAD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:

        def answer(folder: Path, *paths: str, targets: tuple[str, ...] = ()) -> object:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([str(folder), targets, paths]) + "\n")
            return json.loads(process.stdout.readline())

        yield answer


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def test_the_example_is_loaded_once_from_a_folder_and_from_its_main_file(load: Load) -> None:
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


def test_folders_are_searched_for_files_that_import_flyte(load: Load, tmp_path: Path) -> None:
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


def test_a_failing_import_shows_the_user_s_frames_only(load: Load, tmp_path: Path) -> None:
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
def test_whatever_a_module_raises_is_its_own(load: Load, tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, broken=text)
    error = load(tmp_path, ".")
    assert isinstance(error, dict)
    assert message in error["message"]


def test_two_environments_of_one_name_name_both_files(load: Load, tmp_path: Path) -> None:
    write(tmp_path, one=ENVIRONMENT.format(name="same", task="a"), two=ENVIRONMENT.format(name="same", task="b"))
    error = load(tmp_path, ".")
    assert isinstance(error, dict)
    assert error["type"] == "DuplicateEnvironmentError"
    assert error["message"] == "Environment `same` is defined in `one.py:3` and in `two.py:3`"


def test_a_cycle_is_named(load: Load, tmp_path: Path) -> None:
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
    assert error["message"] == "`depends_on` forms a cycle: a (loop.py:3) → b (loop.py:4) → a"


def test_unknown_and_ambiguous_targets(load: Load, tmp_path: Path) -> None:
    write(tmp_path, one=ENVIRONMENT.format(name="one", task="train"), two=ENVIRONMENT.format(name="two", task="train"))
    unknown = load(tmp_path, ".", targets=("trian",))
    assert isinstance(unknown, dict)
    assert unknown["message"] == "No task or environment is called `trian`"
    assert unknown["hint"] == "did you mean `train`?"
    ambiguous = load(tmp_path, ".", targets=("train",))
    assert isinstance(ambiguous, dict)
    assert ambiguous["hint"] == "use one of `one.train`, `two.train`"
    assert load(tmp_path, ".", targets=("two.train",)) == [["two", ["two.train"], []]]


def test_targets_may_be_several_patterns_and_names_in_modules(load: Load, tmp_path: Path) -> None:
    app = "\nimport flyte.app\napp = flyte.app.AppEnvironment(name='app', depends_on=[env], image='acme/app:1')\n"
    write(
        tmp_path,
        one=ENVIRONMENT.format(name="one", task="train"),
        deep__two=ENVIRONMENT.format(name="two", task="train"),
        three=ENVIRONMENT.format(name="three", task="other") + app,
    )

    def names(*targets: str) -> list[str]:
        loaded = load(tmp_path, ".", targets=targets)
        assert isinstance(loaded, list), loaded
        return [item[0] for item in loaded]

    assert names("two.train", "one") == ["two", "one"]
    assert names("*.train") == ["one", "two"]
    assert names("t*e") == ["three"]
    assert names("app") == ["three", "app"]
    assert names("one:train") == names("one.py:train") == ["one"]
    assert names("deep.two:train") == names("two:train") == names("deep/two.py:train") == ["two"]
    assert names("three:*") == ["three", "app"]
    nothing = load(tmp_path, ".", targets=("one:other",))
    assert isinstance(nothing, dict)
    assert nothing["message"] == "No task or environment is called `one:other`"


def test_odd_files_in_a_folder_are_passed_over_and_named_ones_refused(load: Load, tmp_path: Path) -> None:
    write(tmp_path, a=ENVIRONMENT.format(name="a", task="t"))
    (tmp_path / ".#lock.py").symlink_to("nowhere")
    (tmp_path / "gone.py").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("import flyte")
    assert load(tmp_path, ".") == [["a", ["a.t"], []]]
    error = load(tmp_path, "notes.txt")
    assert isinstance(error, dict)
    assert error["message"] == "`notes.txt` is not a Python file"


def test_a_path_that_is_not_there(load: Load, tmp_path: Path) -> None:
    error = load(tmp_path, "nowhere.py")
    assert isinstance(error, dict)
    assert error["message"] == "`nowhere.py` does not exist"


def test_a_file_that_shadows_an_installed_module_is_not_mistaken_for_it(load: Load, tmp_path: Path) -> None:
    write(tmp_path, json=ENVIRONMENT.format(name="a", task="t"))
    error = load(tmp_path, "json.py")
    assert isinstance(error, dict)
    assert error["message"].startswith("`json.py` cannot be imported as `json`")


IMPORTER = """
import flyte
{imports}
env = flyte.TaskEnvironment(name="{name}", depends_on=[{depends_on}])

@env.task
def {name}_main() -> int:
    return 1
"""


def test_a_script_in_a_scanned_folder_finds_what_lies_beside_it(load: Load) -> None:
    examples = Path(__file__).parents[2] / "examples"
    names = [["fold_env", "msa_env", "multi_env"], ["fold_env.run_fold"]]
    for folder, path in ((examples.parent, "examples"), (examples, ".")):
        loaded = load(folder, path)
        assert isinstance(loaded, list)
        assert [[item[0] for item in loaded], loaded[0][1]] == names


def test_folders_with_modules_of_the_same_names_are_apart(load: Load, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(
            tmp_path / name,
            main=IMPORTER.format(name=name, imports="from helpers.env import env as helper", depends_on="helper"),
            helpers__env=ENVIRONMENT.format(name=f"{name}_helper", task="help_it"),
        )
    expected = {"one": ["one_helper"], "two": ["two_helper"], "one_helper": [], "two_helper": []}
    for paths in (["."], ["one", "two"], ["one/main.py", "two/main.py"], ["two/main.py", "."]):
        loaded = load(tmp_path, *paths)
        assert isinstance(loaded, list), loaded
        assert {item[0]: item[2] for item in loaded} == expected


def test_a_file_known_by_two_names_is_loaded_once(load: Load, tmp_path: Path) -> None:
    """The folder's modules call it `lib.shared`, the scripts beside it `shared`; one of them is scanned before it."""
    write(
        tmp_path,
        app=IMPORTER.format(name="app", imports="from lib.shared import env as shared", depends_on="shared"),
        zoo=IMPORTER.format(name="zoo", imports="import lib.shared as shared", depends_on="shared.env"),
        lib__abc=IMPORTER.format(name="abc", imports="import shared", depends_on="shared.env"),
        lib__shared=ENVIRONMENT.format(name="shared", task="t"),
        lib__tool=IMPORTER.format(name="tool", imports="from shared import env as x", depends_on="x"),
        lib__deep__far=IMPORTER.format(name="far", imports="from shared import env as x", depends_on="x"),
    )
    loaded = load(tmp_path, ".")
    assert isinstance(loaded, list), loaded
    assert {item[0]: item[2] for item in loaded} == {
        "shared": [],
        **{name: ["shared"] for name in ("app", "zoo", "abc", "tool", "far")},
    }


def test_a_script_in_a_folder_that_is_a_package_finds_what_lies_beside_it(load: Load, tmp_path: Path) -> None:
    write(
        tmp_path,
        pkg__main=IMPORTER.format(name="main", imports="from helper import env as helper", depends_on="helper"),
        pkg__helper=ENVIRONMENT.format(name="helper", task="t"),
        pkg__inside=IMPORTER.format(name="inside", imports="from .helper import env as helper", depends_on="helper"),
        pkg__outside=IMPORTER.format(name="out", imports="from pkg.helper import env as helper", depends_on="helper"),
    )
    (tmp_path / "pkg" / "__init__.py").touch()
    assert load(tmp_path, "pkg/main.py") == [["helper", ["helper.t"], []], ["main", ["main.main_main"], ["helper"]]]
    for paths in (["."], ["pkg"]):
        loaded = load(tmp_path, *paths)
        assert isinstance(loaded, list), loaded
        assert {item[0] for item in loaded} == {"helper", "main", "inside", "out"}


def test_folders_whose_names_no_module_can_have(load: Load, tmp_path: Path) -> None:
    helped = IMPORTER.format(name="main", imports="from helper import env as helper", depends_on="helper")
    write(tmp_path / "my.tools" / "v1.0", main=helped, helper=ENVIRONMENT.format(name="helper", task="t"))
    write(tmp_path / "my-flows", other=ENVIRONMENT.format(name="other", task="t"))
    loaded = load(tmp_path, ".")
    assert isinstance(loaded, list), loaded
    assert {item[0]: item[2] for item in loaded} == {"main": ["helper"], "helper": [], "other": []}


def test_an_import_that_fails_and_is_tried_again_fails_again(load: Load, tmp_path: Path) -> None:
    write(
        tmp_path,
        lib__slow="raise ImportError('not here')",
        main="""
        import flyte
        for _ in range(2):
            try:
                import lib.slow
            except ImportError as error:
                assert str(error) == "not here"
            else:
                raise AssertionError("half a module")
        env = flyte.TaskEnvironment(name="main")
        """,
    )
    assert load(tmp_path, ".") == [["main", [], []]]


def test_an_installed_module_is_not_replaced_by_a_folder_of_its_name(load: Load, tmp_path: Path) -> None:
    write(tmp_path / "click", other="x = 1")
    write(tmp_path, main="import flyte\nfrom click import Command\nenv = flyte.TaskEnvironment(name='main')\n")
    assert load(tmp_path, ".") == load(tmp_path, "main.py") == [["main", [], []]]


def test_the_trace_of_an_import_in_an_import_has_the_user_s_frames_only(load: Load, tmp_path: Path) -> None:
    write(tmp_path, main="import flyte\nimport lib.inner\n", lib__inner="1 / 0\n")
    error = load(tmp_path, ".")
    assert isinstance(error, dict)
    assert [line.strip() for line in error["trace"].splitlines() if "File" in line] == [
        f'File "{tmp_path}/main.py", line 2, in <module>',
        f'File "{tmp_path}/lib/inner.py", line 1, in <module>',
    ]


def test_what_modules_print_is_no_result(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="""
        import os, subprocess, sys, flyte
        print("printed")
        sys.stdout.flush()
        os.write(1, b"written\\n")
        subprocess.run(["echo", "echoed"], check=True)
        env = flyte.TaskEnvironment(name="main")
        """,
    )
    command = [sys.executable, str(LOAD), "[]", "main.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == '[["main", [], []]]\n'
    assert set(done.stderr.splitlines()) >= {"printed", "written", "echoed"}


def test_a_folder_that_cannot_be_read_is_told_and_skipped(tmp_path: Path) -> None:
    """A database's folder beside the code, say."""
    program = """
import ctypes, sys
from pathlib import Path
from flytebuild.authoring.loader import load
from flytebuild.errors import UsageError
ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())  # root may read everything
told = []
try:
    print(list(load([Path(path) for path in sys.argv[1:]], told.append).environments))
except UsageError as error:
    print(error.message)
print(*(event.message for event in told))
"""
    write(tmp_path, a=ENVIRONMENT.format(name="a", task="t"), locked__b=ENVIRONMENT.format(name="b", task="t"))

    def loaded(path: str) -> list[str]:
        command = [sys.executable, "-c", program, path]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout.splitlines()

    (tmp_path / "locked").chmod(0)
    whole, file = loaded("."), loaded("locked/b.py")
    (tmp_path / "locked").chmod(0o700)
    assert whole == ["['a']", "`locked` is skipped, since it cannot be read (Permission denied)"]
    assert file == ["`locked/b.py` cannot be read (Permission denied)", ""]


def test_a_broken_module_is_told_once_with_how_many_import_it(load: Load, tmp_path: Path) -> None:
    """Whether it defines environments itself or not."""
    for name, first in (("one", ""), ("two", "import flyte\n")):
        importers = {f"{name}__task{number}": "import flyte\nimport shared\n" for number in range(3)}
        write(tmp_path, **{f"{name}__shared": f"{first}def f(:\n    pass\n"}, **importers)
        error = load(tmp_path, name)
        assert isinstance(error, dict)
        line = 2 if first else 1
        told = f"`{name}/shared.py` fails to import: SyntaxError: invalid syntax (shared.py, line {line})"
        assert (error["type"], error["message"]) == ("LoadError", f"{told}; 3 files import it")
        assert error["hint"] == f"`python {name}/shared.py` shows it as well"
        assert f'shared.py", line {line}' in error["trace"]


def test_a_broken_module_is_named_by_its_folder_however_its_importer_was_given(load: Load, tmp_path: Path) -> None:
    write(tmp_path, main="import flyte\nfrom pipeline import util\n", pipeline__util="import os\n\ndef f(:\n")
    told = "`pipeline/util.py` fails to import: SyntaxError: invalid syntax (util.py, line 3); `main.py` imports it"
    for given in ("main.py", "."):
        error = load(tmp_path, given)
        assert isinstance(error, dict)
        assert (error["type"], error["message"]) == ("LoadError", told)
        assert 'pipeline/util.py", line 3' in error["trace"]
        assert "Traceback" not in error["trace"]
        assert error["hint"] == "`python pipeline/util.py` shows it as well"


def test_what_is_no_python_and_in_no_file_is_its_module_s_own(load: Load, tmp_path: Path) -> None:
    write(tmp_path, main="import flyte\nexec('def f(:')\n")
    message = load(tmp_path, "main.py")["message"]  # type: ignore[index]
    assert message == "`main.py` fails to import: SyntaxError: invalid syntax (<string>, line 1)"
