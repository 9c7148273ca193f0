"""Lints: what they find, and what they leave alone."""

import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from flytebuild import checks
from flytebuild.authoring.images import Reader
from flytebuild.authoring.loader import load
from flytebuild.config import Config
from tests.check.project import examined, said

MAIN = """
import flyte; from pathlib import Path

BASE = flyte.Image.from_debian_base(name="mine")
env = flyte.TaskEnvironment(
    name="env",
    image=BASE
    {layers},{variables}
)

@env.task
def main(x: int = 1) -> int:
    return x
"""


def project(folder: Path, rule: str, layers: str = "", variables: str = "") -> list[str]:
    (folder / "src").mkdir(parents=True, exist_ok=True)
    for name in ("model.py", "other.py"):
        (folder / "src" / name).write_text("x = 1\n")
    (folder / "requirements.txt").write_text("torch\n")
    return said(examined(folder, main=MAIN.format(layers=layers, variables=variables)), rule, folder)


@pytest.mark.parametrize(
    "pair",
    [
        '{"MAX_TOKEN": "100000000"}',
        '{"GOOGLE_APPLICATION_CREDENTIALS": "secrets/account.json"}',
        '{"HF_TOKEN": "/etc/secrets/hf"}',
        '{"TOKENIZERS_PARALLELISM": "falsefalse"}',
        '{"API_KEY_HEADER": "X-Api-Key-Of-Ours"}',
    ],
)
def test_what_only_looks_like_a_secret_is_none(tmp_path: Path, pair: str) -> None:
    assert project(tmp_path, "secret-in-image", f".with_env_vars({pair})") == []
    assert project(tmp_path / "two", "secret-in-variable", variables=f" env_vars={pair}") == []


@pytest.mark.parametrize(
    "pair",
    [
        '{"HF_TOKEN": "abcdefgh12345"}',
        '{"DB_PASSWORD": "correcthorse"}',
        '{"ANYTHING": "ghp_' + "a" * 36 + '"}',
        '{"OPENAI_API_KEY": "sk-' + "b" * 40 + '"}',
    ],
)
def test_secrets_in_variables_are_named_and_not_shown(tmp_path: Path, pair: str) -> None:
    found = project(tmp_path, "secret-in-image", f".with_env_vars({pair})")
    found += project(tmp_path / "two", "secret-in-variable", variables=f" env_vars={pair}")
    name, value = next(iter(eval(pair).items()))
    assert found == [
        f"warning main.py:8: The variable `{name}` of an image seems to hold a secret",
        f"warning main.py:5: The variable `{name}` of `env` seems to hold a secret",
    ]
    assert value not in str(found)


@pytest.mark.parametrize(
    "pair",
    [
        '{"HF_TOKEN": ""}',
        '{"HF_TOKEN": "$OTHER_TOKEN"}',
        '{"TOKENIZERS_PARALLELISM": "false123"}',
        '{"HF_TOKEN_PATH": "/var/run/secrets/token"}',
        '{"API_KEY": "/etc/keys/api"}',
        '{"MAX_TOKENS": "100000000"}',
        '{"SECRET_KEY": "changeme"}',
    ],
)
def test_what_is_no_secret(tmp_path: Path, pair: str) -> None:
    assert project(tmp_path, "secret-in-image", f".with_env_vars({pair})") == []


def test_a_secret_in_a_command(tmp_path: Path) -> None:
    found = project(tmp_path, "secret-in-image", '.with_commands(["TOKEN=abcdefgh1234 ./login"])')
    assert found == ["warning main.py:8: A command of an image seems to hold a secret"]
    assert project(tmp_path / "two", "secret-in-image", '.with_commands(["TOKEN=$TOKEN ./login"])') == []


def test_packages_after_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(layers: str) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        monkeypatch.chdir(folder)
        return project(folder, "package-after-source", layers)

    copy, torch, apt = (
        '.with_source_folder(Path("src"))',
        '.with_pip_packages("torch==2.3", "x==1")',
        '.with_apt_packages("git")',
    )
    assert found(copy + "\\\n    " + torch) == [
        "warning main.py:9: Every edit of the files that are copied before (main.py:8) installs `torch` again"
    ]
    assert found(copy + "\\\n    " + apt) == [
        "warning main.py:9: Every edit of the files that are copied before (main.py:8) installs the packages of Debian "
        "again"
    ]
    for later, what in (
        ('.with_commands(["apt-get update && apt-get install -y curl"])', "the packages of Debian"),
        ('.with_requirements(Path("requirements.txt"))', "`torch`"),
    ):
        assert found(copy + "\\\n    " + later) == [
            f"warning main.py:9: Every edit of the files that are copied before (main.py:8) installs {what} again"
        ]
    assert found(copy + '.with_commands(["echo install"])') == []
    for layers in (torch + copy, apt + torch + copy, copy + '.with_pip_packages("x==1")'):
        assert found(layers) == []
    assert found('.with_source_file(Path("requirements.txt"))' + torch) == []


def test_pins(tmp_path: Path) -> None:
    layers = '.with_pip_packages("a", "b>=1", "c==1", "d @ https://example.com/d.whl", "e~=2.0", "f")'
    assert project(tmp_path, "unpinned-requirement", layers) == [
        "advice main.py:8: No exact version is asked for of `a`, `b`, `e` …"
    ]
    exact = ('"a==1"', '"a===1"', f'"a @ git+https://example.com/a@{"0" * 40}"')
    for number, text in enumerate(exact):
        assert project(tmp_path / f"exact{number}", "unpinned-requirement", f".with_pip_packages({text})") == []
    for number, text in enumerate(('"a==1.*"', '"a @ git+https://example.com/a@main"')):
        assert len(project(tmp_path / f"loose{number}", "unpinned-requirement", f".with_pip_packages({text})")) == 1


def test_pins_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = MAIN.format(layers='.with_requirements(Path("requirements.txt"))', variables="")
    for name, lines in (("loose", "torch\nsix==1.16\n"), ("exact", "-c pins.txt\ntorch\nSix\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "requirements.txt").write_text(lines)
        (tmp_path / name / "pins.txt").write_text("torch==2.9\nsix==1.16\n")
    found = []
    for folder in (tmp_path / "loose", tmp_path / "exact"):
        monkeypatch.chdir(folder)
        found += said(examined(folder, main=layer), "unpinned-requirement", folder)
    assert found == ["advice main.py:8: No exact version is asked for of `torch`"]


@pytest.mark.parametrize(
    ("base", "is_moving"),
    [
        ("acme/base", True),
        ("acme/base:latest", True),
        ("localhost:5000/base", True),
        ("acme/base:1.2", True),
        ("python:3.12-slim", True),
        ("ghcr.io/flyteorg/flyte:py3.11-v2.12.1", False),
        ("ghcr.io/flyteorg/flyte:py3.11-latest", True),
        ("acme/base@sha256:" + "1" * 64, False),
    ],
)
def test_bases_that_move(tmp_path: Path, base: str, is_moving: bool) -> None:
    text = MAIN.replace(
        'flyte.Image.from_debian_base(name="mine")', f'flyte.Image.from_base("{base}").clone(name="x", extendable=True)'
    )
    found = said(
        examined(tmp_path, main=text.format(layers='.with_env_vars({"A": "1"})', variables="")),
        "unpinned-base",
        tmp_path,
    )
    assert len(found) == is_moving
    assert project(tmp_path / "two", "unpinned-base", '.with_env_vars({"A": "1"})') == []


def test_one_image_under_two_names(tmp_path: Path) -> None:
    text = """
        import flyte
        of = lambda name: flyte.Image.from_debian_base(name=name).with_env_vars({{"A": "1"}})
        one = flyte.TaskEnvironment(name="one", image=of("a"))
        two = flyte.TaskEnvironment(name="two", image=of("{name}"))
    """
    found = examined(tmp_path, main=text.format(name="b"))
    assert said(found, "same-image-twice", tmp_path) == [
        "advice main.py:3: The images of `one` and `two` are the same under two names"
    ]
    assert said(examined(tmp_path / "c", main=text.format(name="a")), "same-image-twice", tmp_path) == []


def test_rules_that_are_off(tmp_path: Path) -> None:
    main = MAIN.format(layers='.with_pip_packages("a")', variables="")
    assert examined(tmp_path / "one", ignored=("unpinned-requirement",), main=main) == ()
    off = main.replace('("a")', '("a")  # flytebuild: ignore[unpinned-requirement, depends-on]\n    ')
    assert examined(tmp_path / "two", main=off) == ()
    assert len(examined(tmp_path / "three", main=off.replace("unpinned-requirement, ", ""))) == 1


def test_nothing_is_unpinned_where_there_is_a_lock(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(layers='.with_pip_packages("a")', variables=""))
    lock = tmp_path / "flytebuild.lock"
    with patch.dict(sys.modules), patch.object(sys, "path", list(sys.path)):
        definitions = load([tmp_path])
        nodes = definitions.needed((), Reader())
        config = replace(Config(), lock=lock)
        assert [item.rule for item in checks.check(config, definitions, nodes)] == ["unpinned-requirement"]
        lock.write_text("")
        assert checks.check(config, definitions, nodes) == ()
