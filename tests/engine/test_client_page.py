"""The program on the page of the BuildKit client does what the page says."""

from __future__ import annotations

import json
import re
import secrets
import tarfile
from pathlib import Path
from typing import Any

import docker
import pytest

from flytebuild.buildkit import Archives, Cache, Connection, Export, Progress, Session, Solve
from flytebuild.engine import EngineAddress
from flytebuild.llb import diff, image, make_file, marshal, merge
from tests.conftest import TOP, Machine
from tests.engine.building import FLYTE_BASE
from tests.engine.conftest import in_image, repository_tags

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


def layers(archive: Path) -> list[str]:
    """The digests of the layers of an archive's image."""
    with tarfile.open(archive) as file:

        def read(name: str) -> Any:
            member = file.extractfile(name)
            assert member
            return json.load(member)

        (listed,) = read("index.json")["manifests"]
        return [layer["digest"] for layer in read("blobs/" + listed["digest"].replace(":", "/"))["layers"]]


def test_an_archive_and_a_cache(machine: Machine, registry_prefix: str, tmp_path: Path) -> None:
    names: list[str] = []

    def place(name: str) -> Path:
        names.append(name)
        return tmp_path / "hello.tar"

    cache = Cache("registry", {"ref": f"{registry_prefix}/cache:1", "mode": "max"})
    with Connection.open(EngineAddress(machine.docker_host, "the test")) as connection:
        platform = connection.worker().platform
        base = image(FLYTE_BASE.replace("ghcr.io", machine.mirrors["ghcr.io"]), platform, name="base")
        more = make_file(base, "/token", secrets.token_bytes(8), platform, name="more")
        added = diff(base, more, name="added")
        found = []
        with Session(connection, [Archives(place)]) as session:
            for state in (added, merge([base, added], name="together")):
                export = Export("oci", {"name": "hello:1", "oci-mediatypes": "true"})
                solve = Solve(connection, session.id)
                solve.run(marshal(state), export, Progress("hello:1", print), imports=[cache], exports=[cache])
                found.append(layers(tmp_path / "hello.tar"))
    assert len(found[0]) == 1
    assert len(found[1]) > 1
    assert found[1][-1] == found[0][0]
    assert [name.rpartition("/")[2] for name in names] == ["hello:1", "hello:1"]
    assert repository_tags(registry_prefix, "cache") == {"1"}
