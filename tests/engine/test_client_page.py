"""The program on the page of the BuildKit client does what the page says."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import docker
import pytest

from tests.conftest import TOP, Machine
from tests.engine.conftest import in_image

pytestmark = pytest.mark.engine


def test_it_builds_an_image(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (TOP / "docs/buildkit-client.md").read_text(), re.DOTALL)
    name = f"hello:{secrets.token_hex(6)}"
    replaced = program.replace("hello:1", name).replace("docker.io/", f"{machine.mirrors['docker.io']}/")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/hello.py").write_text("import glob\n\nprint('hello', *glob.glob('__pycache__/*'))\n")
    monkeypatch.chdir(tmp_path)
    exec(compile(replaced, "buildkit-client.md", "exec"), {})
    client = docker.from_env()
    try:
        assert in_image(name) == "hello __pycache__/hello.cpython-311.pyc\n"
    finally:
        client.images.remove(name, force=True)
        client.close()
    assert "name='compile'" in capsys.readouterr().out
