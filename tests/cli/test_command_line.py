"""The command line as a user meets it, where no engine is needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flytebuild.cli import main
from tests.cli.calls import Call, Told, tell

TASKS = """
import enum
from dataclasses import dataclass

import flyte
from flyte.io import File
from pydantic import BaseModel

print("imported")
env = flyte.TaskEnvironment(name="env")
other = flyte.TaskEnvironment(name="other")


@dataclass
class Settings:
    m: int
    n: int


class Model(BaseModel):
    m: int
    n: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@env.task
def train(settings: Settings, x: int = 1, colour: Colour = Colour.RED, maybe: int | None = None) -> int:
    return settings.m


@env.task
def fit(model: Model, file: File | None = None) -> int:
    return model.m


@env.task
def clean() -> None: ...


@other.task(short_name="again")
def clean() -> None: ...
"""


@dataclass
class Desk:
    """A folder with a few tasks; there is no engine, and the control plane's folder must stay empty."""

    folder: Path
    environ: dict[str, str]

    def call(self, *arguments: str, code: int) -> Told:
        told = tell(Call(self.folder, arguments, self.environ))
        assert told.code == code, told.transcript
        assert "Traceback" not in told.err
        return told

    def writing_to(self, stdout: int, *arguments: str, code: int) -> str:
        """What is told on stderr where the command itself is given its stdout."""
        command = [sys.executable, "-m", "flytebuild", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FLYTE", "DOCKER", "XDG_"))},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(tmp_path),
        "FLYTEBUILD_HOME": str(tmp_path / "home"),
        "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock",
        "FLYTE_DISABLE_TELEMETRY": "1",
    }
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "main.py").write_text(TASKS)
    yield Desk(folder, environ)
    assert not (tmp_path / "home" / "lock").exists()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (("train", "--settings", '{"m": 3}'), "missing 1 required positional argument: 'n'"),
        (("train", "--settings", "[3]"), "should be a dict instance"),
        (("train", "--settings", "not JSON"), "it should be a valid json object, not JSON"),
        (("train", "--settings", '{"m": 3, "n": 1}', "--x", "three"), "'three' is not a valid integer"),
        (("train", "--settings", '{"m": 3, "n": 1}', "--colour", "GREY"), "'GREY' is not one of"),
        (("train", "--settings", '{"m": 3, "n": 1}', "--maybe", "x"), "`x` is none of Optional[integer]"),
        (("train",), "--settings"),
        (("fit", "--model", '{"m": 3}'), "n Field required"),
        (("train", "--unknown", "1"), "No such option '--unknown'"),
    ],
)
def test_inputs_that_do_not_fit(desk: Desk, inputs: tuple[str, ...], message: str) -> None:
    done = desk.call("run", "main.py", *inputs, code=main.USAGE)
    first, blank, hint = done.err.splitlines()[1:]
    assert first.startswith("error: ")
    assert message in first
    assert (blank, hint) == ("", f"hint: `flytebuild run main.py {inputs[0]} --help` shows what can be given")
    assert done.out == ""


def test_an_input_that_can_be_no_option(desk: Desk) -> None:
    (desk.folder / "main.py").write_text(TASKS + "\n\n@env.task\ndef loud(Name: int) -> None: ...\n")
    error = desk.call("run", "main.py", "loud", "--Name", "1", code=65).err
    assert "error: The inputs of `env.loud` cannot be given on a command line: " in error
    assert "must be lowercase: 'Name'" in error


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere(desk: Desk, flag: str) -> None:
    for command in ((), ("plan",), ("build",), ("run",), ("up",), ("down",), ("status",), ("run", "main.py", "train")):
        assert "Usage" in desk.call(*command, flag, code=0).out


def test_the_tasks_of_a_file(desk: Desk) -> None:
    done = desk.call("run", "main.py", "--help", code=0)
    assert done.out.splitlines() == [
        "Usage: flytebuild run [OPTIONS] main.py TASK [--INPUT VALUE]...",
        "",
        "Tasks:",
        "  train        --settings --x --colour --maybe",
        "  fit          --model --file",
        "  env.clean",
        "  other.clean",
    ]
    error = desk.call("run", "main.py", code=main.USAGE).err
    assert "error: Which task of `main.py` is to run?" in error
    assert "hint: its tasks: `train`, `fit`, `env.clean`, `other.clean`" in error


def test_a_container_of_the_user_s_has_a_name_of_its_own(desk: Desk) -> None:
    (desk.folder / "raw.py").write_text(
        "import flyte\nfrom flyte.extras import ContainerTask\n"
        "greet = ContainerTask(name='greet', image='busybox', inputs={'who': str}, outputs={}, command=['true'])\n"
        "env = flyte.TaskEnvironment.from_task('raw', greet)\n"
    )
    assert desk.call("run", "raw.py", "--help", code=0).out.splitlines()[-1] == "  greet  --who"
    assert "hint: its tasks: `greet`" in desk.call("run", "raw.py", code=main.USAGE).err


@pytest.mark.parametrize(
    ("option", "value"),
    [("-d", ""), ("--detach", ""), ("--json", ""), ("--name", " TEXT"), ("--secret", " NAME=SOURCE")],
)
def test_options_behind_the_task(desk: Desk, option: str, value: str) -> None:
    error = desk.call("run", "main.py", "fit", option, code=main.USAGE).err
    assert f"error: `{option}` is an option of `flytebuild run` and goes before the file" in error
    assert f"hint: `flytebuild run {option}{value} main.py" in error


def test_a_name_that_no_run_can_have(desk: Desk) -> None:
    error = desk.call("run", "--name", "no/name", "main.py", "env.clean", code=main.USAGE).err
    assert "`no/name` is not a valid name" in error


def test_unknown_commands(desk: Desk) -> None:
    bild = desk.call("bild", code=main.USAGE).err
    assert bild == "error: There is no command `bild`\n\nhint: did you mean `build`?\n"
    assert "hint: commands: `plan`, `build`" in desk.call("xyz", code=main.USAGE).err


def test_nobody_reads(desk: Desk) -> None:
    for arguments in (("plan", "--json", "main.py"), ("plan", "main.py"), ("run", "main.py", "train", "--help")):
        reader, writer = os.pipe()
        os.close(reader)
        told = desk.writing_to(writer, *arguments, code=main.READER_GONE).splitlines()
        assert [line for line in told if not line.startswith("note: ")] in ([], ["imported"])
        os.close(writer)


def test_a_disk_that_is_full(desk: Desk) -> None:
    for arguments in (("plan", "--json", "main.py"), ("plan", "main.py"), ("run", "main.py", "train", "--help")):
        with open("/dev/full", "wb") as full:
            error = desk.writing_to(full.fileno(), *arguments, code=74)
        assert error.splitlines()[-1] == "error: The output cannot be written: No space left on device"


def test_a_disk_that_is_full_is_told_before_anything_is_done(desk: Desk) -> None:
    """No engine answers here either, and it is not even looked for."""
    for arguments in (("build", "--json", "main.py"), ("run", "main.py", "train")):
        with open("/dev/full", "wb") as full:
            error = desk.writing_to(full.fileno(), *arguments, code=74)
        assert error == "error: The output cannot be written: No space left on device\n"


def test_ctrl_c_while_the_command_is_being_imported(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from flytebuild.cli.start import start

class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Presses())
start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_saved_plan_whose_name_is_misspelt(desk: Desk) -> None:
    (desk.folder / "plan.json").write_text("{}")
    error = desk.call("build", "plann.json", code=64).err
    assert error == "error: There is no saved plan `plann.json`\n\nhint: did you mean `plan.json`?\n"


def test_what_modules_print_is_no_result(desk: Desk) -> None:
    done = desk.call("plan", "--json", "main.py", code=0)
    assert done.out.startswith("{")
    assert "imported" in done.err


def test_up_looks_whether_its_file_can_be_before_it_starts_anything(desk: Desk) -> None:
    (desk.folder / ".flyte").touch()
    error = desk.call("up", code=74).err
    assert error.splitlines()[0] == "error: `.flyte/config.yaml` cannot be written: `.flyte` is not a folder"
    assert "No Docker Engine" in desk.call("up", "--no-config", code=69).err


def test_the_platform_is_told_where_no_engine_says_it(desk: Desk) -> None:
    note = "note: No Docker Engine answers, so images are planned for `linux/"
    assert note not in desk.call("plan", "main.py", code=0).err
    image = 'flyte.Image.from_base("127.0.0.1:1/x").clone(name="x", extendable=True).with_pip_packages("a")'
    (desk.folder / "main.py").write_text(f"import flyte\nenv = flyte.TaskEnvironment('env', image={image})\n")
    assert desk.call("plan", "main.py", code=0).err.count(note) == 1
    assert note not in desk.call("plan", "--platform", "linux/amd64", "main.py", code=0).err


DEFECT = """
import flytebuild.pipeline

def fail(*arguments, **options):
    raise KeyError("a thing")

flytebuild.pipeline.plan_definitions = fail
"""


def test_our_own_defects(desk: Desk) -> None:
    (desk.folder / "main.py").write_text(TASKS + DEFECT)
    error = desk.call("plan", "--json", "main.py", code=70).err
    assert "error: This is a defect of flytebuild: KeyError: 'a thing" in error
    assert "hint: please report it" in error
    desk.environ["FLYTEBUILD_TRACEBACK"] = "1"
    with pytest.raises(AssertionError, match="Traceback"):
        desk.call("plan", "--json", "main.py", code=70)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("is_ignored", [False, True], ids=["heard", "sigint-ignored"])
def test_signals(desk: Desk, number: int, code: int, is_ignored: bool) -> None:
    """A command in the background of a script ignores SIGINT from its start; SIGTERM ends it all the same."""
    (desk.folder / "main.py").write_text(
        "import sys, time, flyte\nprint('waiting', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    if is_ignored and number == signal.SIGINT:
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if is_ignored else signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "flytebuild", "plan", "main.py"],
            cwd=desk.folder,
            env=desk.environ,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(number)
        assert process.stderr.read().split() == ["interrupted" if number == signal.SIGINT else "terminated"]
        assert process.wait(20) == code
