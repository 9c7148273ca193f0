"""Where a secret's value is not to be had, the message says why, and never what it is."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from keyring.errors import KeyringLocked

from flytebuild.build import secret_values
from flytebuild.build.secret_values import SecretMissingError, read
from flytebuild.secret_source import SecretSource


def problem(text: str, folder: Path, **environ: str) -> SecretMissingError:
    with pytest.raises(SecretMissingError) as caught:
        read("my-token", SecretSource.parse(text, folder, "pyproject.toml"), environ)
    assert "pyproject.toml" in (caught.value.hint or "")
    return caught.value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("env:NAME", "the variable `NAME` is not set"),
        ("env:EMPTY", "the variable `EMPTY` is empty"),
        ("file:nothing", "`{0}/nothing` cannot be read (No such file or directory)"),
        ("file:.", "`{0}` cannot be read (Is a directory)"),
        ("env-file:nothing", "`{0}/nothing` cannot be read (No such file or directory)"),
        ("env-file:.env", "`{0}/.env` sets no `MY_TOKEN`"),
        ("env-file:.env#EMPTY", "`{0}/.env` sets no `EMPTY`"),
        ("env-file:binary", "`{0}/binary` is not text"),
        ("command:no-such-program x", "`no-such-program` cannot be run (No such file or directory)"),
        ("command:sh -c 'unclosed", "its command cannot be understood (No closing quotation)"),
        ("command:sh -c 'echo'", "`sh` prints nothing"),
        ("command:false", "`false` does not print it (exit code 1)"),
    ],
)
def test_why(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / ".env").write_text("OTHER=x\nEMPTY=\nNOTHING\n")
    (tmp_path / "binary").write_bytes(b"MY_TOKEN=\xff")
    assert str(problem(text, tmp_path, EMPTY="")) == why.format(tmp_path)


def test_what_a_failing_program_complains_is_shown_and_what_it_prints_is_not(tmp_path: Path) -> None:
    script = tmp_path / "give"
    script.write_text("#!/bin/sh\necho s3cret\necho >&2 please\necho >&2 log in first\nexit 3\n")
    script.chmod(0o755)
    found = problem("command:./give", tmp_path)
    assert str(found) == "`./give` does not print it (exit code 3)"
    assert found.hint == "`pyproject.toml` says to run `./give`\nplease\nlog in first"
    cause: BaseException | None = found
    while cause:
        assert "s3cret" not in repr(cause) + str(cause.args)
        cause = cause.__cause__ or cause.__context__


def test_a_program_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_values, "DEADLINE", 0.2)
    # What it leaves behind has its output open for longer.
    (tmp_path / "give").write_text("echo s3cret; sleep 30 & wait")
    found = problem("command:sh give", tmp_path)
    assert str(found) == "`sh` gives no answer within 0.2 s"
    assert found.__cause__
    assert "s3cret" not in repr(found.__cause__) + repr(found.__cause__.__context__)


def test_the_home_folder_and_undecodable_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_bytes(b"\xff\n")
    assert read("my-token", SecretSource.parse("file:~/token", Path("/"), "x"), {}) == b"\xff\n"
    assert read("my-token", SecretSource.parse("env:X", Path("/"), "x"), {"X": "\udcff"}) == b"\xff"


class FileKeyring(KeyringBackend):
    """A keyring in a file, which may be locked."""

    priority = 1

    def __init__(self, file: Path, *, is_locked: bool = False) -> None:
        super().__init__()
        self.file = file
        self.is_locked = is_locked

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise KeyringLocked("s3cret")
        return self._held().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.file.write_text(json.dumps({**self._held(), f"{service}/{username}": password}))

    def _held(self) -> dict[str, str]:
        return dict(json.loads(self.file.read_text())) if self.file.exists() else {}


@pytest.fixture
def use(tmp_path: Path) -> Iterator[Callable[[KeyringBackend], None]]:
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


def test_a_keyring(tmp_path: Path, use: Callable[[KeyringBackend], None]) -> None:
    use(FileKeyring(tmp_path / "keyring.json"))
    keyring.set_password("hf", "MY_TOKEN", "s3cret é")
    keyring.set_password("hf", "me", "other")
    for text, value in (("keyring:hf", "s3cret é".encode()), ("keyring:hf#me", b"other")):
        assert read("my-token", SecretSource.parse(text, tmp_path, "x"), {}) == value
    found = problem("keyring:hub", tmp_path)
    assert str(found) == "the keyring has no `my-token` of `hub`"
    assert "`keyring set hub my-token`" in (found.hint or "")


def test_a_keyring_that_does_not_open(tmp_path: Path, use: Callable[[KeyringBackend], None]) -> None:
    use(FileKeyring(tmp_path, is_locked=True))
    assert str(problem("keyring:hf", tmp_path)) == "the keyring cannot be asked: it does not open (KeyringLocked)"
    use(fail.Keyring())
    assert str(problem("keyring:hf", tmp_path)) == "the keyring cannot be asked: there is none (NoKeyringError)"


@pytest.mark.parametrize(
    ("text", "content", "value"),
    [
        ("env-file:.env", '# comment\nexport MY_TOKEN="a b"  # more\n', b"a b"),
        ("env-file:.env", "MY_TOKEN='${HOME} #1'\n", b"${HOME} #1"),
        ("env-file:.env", "MY_TOKEN=${HOME}$x\r\n", b"${HOME}$x"),
        ("env-file:.env", 'MY_TOKEN="first\nsecond é"', "first\nsecond é".encode()),
        ("env-file:.env#HF", "MY_TOKEN=other\nHF=this\n", b"this"),
    ],
)
def test_env_files(tmp_path: Path, text: str, content: str, value: bytes) -> None:
    (tmp_path / ".env").write_text(content, newline="")
    assert read("my-token", SecretSource.parse(text, tmp_path, "x"), {"MY_TOKEN": "not this"}) == value
