"""`flytebuild check`, and what plans and builds say of findings, where no engine is needed."""

import json
from pathlib import Path

import pytest

from flytebuild import checks
from flytebuild.check.finding import Finding
from flytebuild.cli.check_text import render, summary
from flytebuild.errors import CheckError
from tests.cli.calls import Call, Told, each

MAIN = """
import flyte
# flytebuild: ignore[unpinned-base]
other = flyte.TaskEnvironment(name="other", image=flyte.Image.from_base("127.0.0.1:9/other:1").clone(name="o"))
env = flyte.TaskEnvironment(name="env", image="acme/env:1"{variables})

@other.task
def there(x: int) -> int:
    return x

@env.task
def main(x: int) -> int:
    return there(x)
"""


def run(folder: Path, *arguments: str, **variables: str) -> Told:
    (told,) = each([Call(folder, arguments, variables)], folder / "home")
    return told


def test_a_call_without_depends_on_everywhere_that_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(variables=', env_vars={"API_TOKEN": "abcdefgh1234"}'))
    message = "main.py:13: `env.main` calls `other.there`, and `env` does not depend on `other`"
    secret = "main.py:5: The variable `API_TOKEN` of `env` seems to hold a secret (secret-in-variable)"
    found = run(tmp_path, "check")
    assert (found.code, found.err) == (65, "")
    assert found.out == (
        f"error: {message} (depends-on)\n  hint: add `other` to `depends_on` of `env` (main.py:5)\n\n"
        f"warning: {secret}\n  hint: ask for it with `secrets=flyte.Secret(…)`\n\n"
        "2 environments, 1 error, 1 warning\n"
    )
    planned = run(tmp_path, "plan", "--platform", "linux/amd64")
    assert planned.code == 0
    assert planned.err.splitlines() == [f"note: {message} (depends-on)", f"note: {secret}"]
    refused = run(tmp_path, "build", "--strict", "--platform", "linux/amd64")
    assert refused.code == 65
    assert refused.err.splitlines()[:3] == [
        f"  {message} (depends-on)",
        f"  {secret}",
        "error: Nothing is built: 2 mistakes were found",
    ]
    off = run(tmp_path, "check", FLYTEBUILD_IGNORE="depends-on")
    assert (off.code, off.out.splitlines()[-1]) == (0, "2 environments, 1 warning")
    assert run(tmp_path, "check", "--strict", FLYTEBUILD_IGNORE="depends-on").code == 65
    none = run(tmp_path, "check", FLYTEBUILD_IGNORE="depends-on, secret-in-variable")
    assert (none.code, none.out) == (0, "2 environments, nothing found\n")
    wrong = run(tmp_path, "check", FLYTEBUILD_IGNORE="depend-on")
    assert wrong.code == 64
    assert "hint: did you mean `depends-on`?" in wrong.err


def test_the_document(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(variables=""))
    found = run(tmp_path, "check", "--json", "--for", "env")
    assert found.code == 65
    assert json.loads(found.out) == {
        "schema": "flytebuild.check/1",
        "environments": ["env"],
        "findings": [
            {
                "rule": "depends-on",
                "level": "error",
                "message": "`env.main` calls `other.there`, and `env` does not depend on `other`",
                "environment": "env",
                "file": "main.py",
                "line": 13,
                "hint": "add `other` to `depends_on` of `env` (main.py:5)",
                "details": None,
            }
        ],
    }


def test_a_plan_tells_a_few() -> None:
    findings = [Finding("depends-on", "error", f"m{number}", "e") for number in range(7)]
    findings.append(Finding("unpinned-base", "advice", "never", "e"))
    told = list(checks.warnings(findings))
    assert told[:5] == [f"m{number} (depends-on)" for number in range(5)]
    assert told[5:] == ["2 more of that kind; `flytebuild check` shows all, with hints"]
    with pytest.raises(CheckError) as caught:
        checks.refuse(findings)
    assert len(caught.value.findings) == 7
    checks.refuse(findings[7:])


def test_the_words() -> None:
    finding = Finding("import-fails", "error", "It fails", "e", "a.py", 3, details="one\ntwo")
    assert (
        render([finding], 1).plain == "error: a.py:3: It fails (import-fails)\n  one\n  two\n\n1 environment, 1 error"
    )
    assert summary([], 2) == "2 environments, nothing found"
    assert summary([finding, finding], 2) == "2 environments, 2 errors"


def test_a_package_that_this_machine_lacks_too(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text(
        "import flyte, nobody_has_this\n"
        "of = flyte.Image.from_debian_base(name='x').with_pip_packages('nobody-has-this==1')\n"
        "tool = flyte.TaskEnvironment(name='tool', image=of)\n\n"
        "@tool.task\n@nobody_has_this.traced\ndef there(x: int) -> int:\n    return nobody_has_this.made(x)\n"
    )
    (tmp_path / "main.py").write_text(
        "import flyte\nfrom tool import there, tool\n"
        "env = flyte.TaskEnvironment(name='env', depends_on=[tool])\n\n"
        "@env.task\ndef main(x: int) -> int:\n    return there(x)\n"
    )
    found = run(tmp_path, "check", "main.py")
    assert found.code == 65, found
    assert found.out == (
        "error: tool.py:1: The image of `env` lacks `nobody_has_this`, which the modules of its tasks import; "
        "that of `tool` has it (missing-package)\n"
        "  hint: give `env` (main.py:3) an image that has it: "
        '`flyte.Image.from_debian_base().with_pip_packages("nobody-has-this==1")`\n\n'
        "2 environments, 1 error\n"
    )
