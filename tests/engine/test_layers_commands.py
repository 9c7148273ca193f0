"""Commands, Debian packages, and the files that steps leave or do not leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytebuild.llb.run import CacheMount
from tests.engine.building import Builds, Built
from tests.engine.solving import Solver

pytestmark = pytest.mark.engine

HEREDOC = """<<EOF
set -e
for word in one two; do
    echo "$word $HOME" >>/heredoc
done
EOF
"""

HOOKS = "/etc/apt/apt.conf.d/docker-clean"
HOOK = 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };'
"""What Debian's images have, in the same file."""


@pytest.fixture(scope="module")
def images(builds: Builds) -> dict[str, Built]:
    base = builds.base
    return builds.build(
        {
            "commands": base.with_env_vars({"GREETING": "good morning"}).with_commands(
                [
                    "echo \"$GREETING\" >/shell && echo 'single $GREETING' >>/shell",
                    '["/usr/bin/touch", "/array $GREETING"]',
                    "echo one \\\n  two >/continued",
                    "cat >/lines <<'END'\n$GREETING\nEND\necho done >>/lines",
                    HEREDOC,
                    "[ -d /opt/venv ] && echo yes >/bracket",
                    "mkdir /a; cd /a",
                    "pwd >/folder; id -u >>/folder; umask >>/folder; tty >>/folder 2>&1 || true; echo ${0} >>/folder",
                    "echo remembered >/tmp/left; mkdir -p /root/.cache/mine && touch /root/.cache/mine/file",
                ]
            ),
            "apt": base.with_apt_packages("hello", "sl=5*", "nano-"),
            "apt with a hook": base.with_commands([f"echo '{HOOK}' >{HOOKS}"]).with_apt_packages("hello"),
            "nothing": base.with_commands(["true"]).with_pip_packages().with_apt_packages(),
        }
    )


def test_shell_text_is_run_by_a_shell(images: dict[str, Built]) -> None:
    assert images["commands"].sh("cat /shell") == ["good morning", "single $GREETING"]


def test_an_array_is_run_as_it_is(images: dict[str, Built]) -> None:
    assert "/array $GREETING" in images["commands"].added


def test_commands_of_several_lines(images: dict[str, Built]) -> None:
    image = images["commands"]
    assert image.sh("cat /continued; cat /lines") == ["one two", "$GREETING", "done"]
    assert image.sh("cat /heredoc") == ["one /root", "two /root"]
    assert image.sh("cat /bracket") == ["yes"]


def test_every_command_starts_anew_as_root_in_the_working_folder(images: dict[str, Built]) -> None:
    assert images["commands"].sh("cat /folder") == ["/home/flyte", "0", "0022", "not a tty", "/bin/sh"]


def test_what_commands_leave_stays(images: dict[str, Built]) -> None:
    image = images["commands"]
    assert image.sh("cat /tmp/left; ls /root/.cache/mine", user="root") == ["remembered", "file"]
    assert image.added_outside() == {
        *("/shell", "/array $GREETING", "/continued", "/lines", "/heredoc", "/bracket", "/folder", "/tmp/left"),
        "/root/.cache/mine/file",
    }


def test_debian_packages(images: dict[str, Built]) -> None:
    look = "hello; test -x /usr/games/sl; ! which nano; env | grep -c DEBIAN || true"
    assert images["apt"].sh(look) == ["Hello, world!", "0"]


def test_installing_debian_packages_leaves_no_lists_and_no_archives(images: dict[str, Built]) -> None:
    left = images["apt"].added_outside("/usr", "/var/lib/dpkg", "/etc", "/var/log")
    assert left <= {"/var/lib/apt/extended_states", "/var/cache/ldconfig/aux-cache"}


def test_archives_stay_where_the_next_step_finds_them(images: dict[str, Built], builds: Builds, solver: Solver) -> None:
    assert images["apt with a hook"].sh(f"cat {HOOKS}; hello") == [HOOK, "Hello, world!"]
    assert HOOKS not in images["apt"].added
    (planned,) = builds.plan({"x": builds.base.with_commands(["true"])}).images
    base = planned.spec.base.digest if planned.spec and planned.spec.base else None
    distribution = (base or "").removeprefix("sha256:")[:12]
    cache = CacheMount("/cache", f"flytebuild-apt-{distribution}-{solver.platform.architecture}", "locked")
    assert "hello_" in solver.printed("ls /cache/archives", caches=(cache,))


def test_steps_that_change_nothing_add_nothing(images: dict[str, Built]) -> None:
    assert images["nothing"].added_outside() == set()


@pytest.mark.parametrize(
    ("command", "step", "code"),
    [
        ("echo said; exit 7", "run: echo said; exit 7", 7),
        ('["/nowhere/program"]', "run: /nowhere/program", 1),
        ("<<EOF\nset -e\nfalse\ntrue\nEOF", "run: set -e", 1),
    ],
    ids=["shell", "no such program", "heredoc"],
)
def test_a_command_that_fails_is_told_with_its_place(builds: Builds, command: str, step: str, code: int) -> None:
    image = builds.base.with_commands(["true", command])
    failure = builds.failure(builds.plan({"failing": image}))
    assert failure.step == step
    assert failure.exit_code == code
    assert failure.environments == ("failing",)
    file, _, line = failure.origin.partition(":")
    assert Path(file).name == "test_layers_commands.py"
    assert Path(__file__).read_text().splitlines()[int(line) - 1].strip().startswith("image = builds.base.with_comm")


def test_a_shared_step_that_fails_is_told_once(builds: Builds) -> None:
    image = builds.base.with_pip_packages("no-such-package-at-all-3141")
    failure = builds.failure(builds.plan({"one": image, "two": image.with_env_vars({"A": "1"})}))
    assert sorted(failure.environments) == ["one", "two"]
    assert "no-such-package-at-all-3141" in " ".join(failure.log)
    assert failure.origin
