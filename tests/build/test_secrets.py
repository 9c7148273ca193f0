"""What build steps are given of the host's."""

from pathlib import Path

import pytest

from flytebuild.build.secrets import LARGEST, host_passwords, host_secrets, layer_secrets, task_secrets
from flytebuild.config import Config
from flytebuild.errors import ConfigError, DefinitionError
from flytebuild.llb.trust import CA_BUNDLE, CA_PATH, CA_PATH_SECRET
from flytebuild.secret_source import SecretSource
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import Command, Secret
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.step import Step
from tests.samples import AMD64


def test_index_settings_and_the_bundle_where_the_host_has_them(tmp_path: Path) -> None:
    assert host_secrets(Config(), {"UV_INDEX_URL": "", "PATH": "/bin"}) == {}
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"pem")
    found = host_secrets(Config(ca_bundle=bundle), {"UV_INDEX_URL": "https://u:p@i/simple"})
    assert found == {"UV_INDEX_URL": b"https://u:p@i/simple", CA_BUNDLE: b"pem", CA_PATH_SECRET: CA_PATH.encode()}


def test_a_bundle_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.pem"):
        host_secrets(Config(ca_bundle=tmp_path / "nothing.pem"), {})


def test_a_secret_of_the_user_s_is_a_variable_or_a_file(tmp_path: Path) -> None:
    wanted = Secret("my-group", "key", env="X")
    (tmp_path / "my-group_key").write_text("from a file")
    for environ, value in (
        ({"MY-GROUP_KEY": "as flyte has it", "MY_GROUP_KEY": "no"}, b"as flyte has it"),
        ({"MY_GROUP_KEY": "as a shell can set it"}, b"as a shell can set it"),
        ({}, b"from a file"),
    ):
        spec = ImageSpec(
            "x", None, AMD64, None, (Step(Command("true", secrets=(wanted,)), RuntimeConfig()),), RuntimeConfig()
        )
        assert layer_secrets([spec], environ, folder=tmp_path) == {"user/my-group/key": value}


def test_a_secret_that_nobody_has_is_told_by_name_and_place(tmp_path: Path) -> None:
    step = Step(Command("true", secrets=(Secret("my-group", "key", env="X"),)), RuntimeConfig(), "main.py:7")
    spec = ImageSpec("x", None, AMD64, None, (step,), RuntimeConfig())
    with pytest.raises(DefinitionError, match=r"`run: true` \(main\.py:7\) needs the secret `my-group_key`") as caught:
        layer_secrets([spec], {}, folder=tmp_path)
    assert "`MY_GROUP_KEY`" in (caught.value.hint or "")


def needing(name: str, origin: str = "main.py:7") -> ImageSpec:
    step = Step(Command("true", secrets=(Secret("", name, env="X"),)), RuntimeConfig(), origin)
    return ImageSpec("x", None, AMD64, None, (step, step), RuntimeConfig())


def test_where_the_configuration_says(tmp_path: Path) -> None:
    counter = tmp_path / "calls"
    (tmp_path / "token").write_bytes(b"from a file\n")
    sources = {
        "A-b": SecretSource.parse("env:OTHER", tmp_path, "x"),
        "FILE": SecretSource.parse("file:token", tmp_path, "x"),
        "COMMAND": SecretSource.parse(f"command:sh -c 'echo >>{counter}; cat token; echo'", tmp_path, "x"),
    }
    environ = {"A_B": "no", "FILE": "no", "OTHER": "from a variable"}
    found = layer_secrets([needing("a_b"), needing("file"), needing("command"), needing("command")], environ, sources)
    assert found == {
        "user//a_b": b"from a variable",
        "user//file": b"from a file\n",
        # Without the last line's end, and without that one only.
        "user//command": b"from a file\n",
    }
    assert counter.read_text() == "\n"


def test_what_is_configured_and_not_there_is_looked_for_nowhere_else(tmp_path: Path) -> None:
    sources = {"KEY": SecretSource.parse("env:OTHER", tmp_path, "`--secret`")}
    with pytest.raises(DefinitionError) as caught:
        layer_secrets([needing("KEY")], {"KEY": "value"}, sources)
    assert caught.value.exit_code == 65
    assert caught.value.message == (
        "`run: true` (main.py:7) needs the secret `KEY`, and the variable `OTHER` is not set"
    )


def test_a_secret_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    sources = {"KEY": SecretSource.parse("file:large", tmp_path, "x")}
    with pytest.raises(DefinitionError, match="it has 512001 bytes, of which BuildKit takes 512000"):
        layer_secrets([needing("KEY")], {}, sources)


def test_tasks_secrets_are_found_as_far_as_they_are_there(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"a\0hidden")
    (tmp_path / "latin").write_bytes(b"\xffhidden")

    def source(text: str) -> SecretSource:
        return SecretSource.parse(text, tmp_path, "--secret")

    sources = {
        "MY_KEY": source("env:ELSEWHERE"),
        "binary": source("file:binary"),
        "latin": source("file:latin"),
        "nowhere": source("file:nowhere"),
        "printed": source("command:sh -c 'echo hidden >&2; exit 3'"),
    }
    names = ("my-key", "team_key", "binary", "latin", "nowhere", "printed", "unsaid")
    found = task_secrets(names, {"ELSEWHERE": "a", "TEAM_KEY": "b", "NOWHERE": "c"}, sources, tmp_path / "none")
    assert found.values == {"my-key": "a", "team_key": "b"}
    said = "that is where `--secret` says it is"
    no_text = f"it is not text; {said}"
    assert found.missing == {
        "binary": no_text,
        "latin": no_text,
        "nowhere": f"`{tmp_path / 'nowhere'}` cannot be read (No such file or directory); {said}",
        "printed": f"`sh` does not print it (exit code 3); {said}",
        "unsaid": found.missing["unsaid"],
    }
    assert found.missing["unsaid"].startswith("there is none; set the variable `UNSAID`")
    # Only what is missing is shown.
    assert "'a'" not in repr(found)


def test_passwords_of_the_hosts_urls() -> None:
    environ = {
        "UV_INDEX": "one=https://me:p%40ss@a.example/simple https://token-alone@b.example/simple https://c.example/",
        "HTTPS_PROXY": "http://user:proxy-word@proxy.example:3128",
        "ELSEWHERE": "https://me:other@a.example/",
    }
    assert set(host_passwords(environ)) == {b"p%40ss", b"p@ss", b"token-alone", b"proxy-word"}
    assert set(host_passwords({})) == set()
