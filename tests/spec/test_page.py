"""`docs/spec.md` says of every kind of layer what the package does."""

import json
import re
from pathlib import Path

import pytest

from flytebuild.spec.digests import digests
from flytebuild.spec.images import ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import EMITTERS, EXECUTING, Command
from flytebuild.spec.model import SetEnv, SetWorkDir
from flytebuild.spec.prefix import PIXI_IMAGE, UV_IMAGE
from tests.samples import UV, made_of, pip
from tests.spec import independent

PAGE = (Path(__file__).parents[2] / "docs/spec.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z-]+)` \| (\d+) \| (yes|no) \| (.*) \|$", re.MULTILINE)
ROWS = {kind: (int(version), executes == "yes", fields) for kind, version, executes, fields in ROW.findall(PAGE)}
OPTIONS = {"index_url", "extra_index_urls", "pre", "extra_args", "secrets"}
VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))


def test_every_kind_has_a_row_with_its_version() -> None:
    assert {kind: version for kind, (version, _, _) in ROWS.items()} == EMITTERS
    assert {kind for kind, (_, executes, _) in ROWS.items() if executes} == EXECUTING


@pytest.mark.parametrize("kind", EMITTERS)
def test_every_field_of_a_kind_is_in_its_row(kind: str) -> None:
    layers = [layer for vector in VECTORS["images"].values() for layer in vector["layers"] if layer["kind"] == kind]
    found = {name for layer in layers for name in layer["spec"]} - {"unresolved"}
    text = re.sub(r"\([^)]*\)", "", ROWS[kind][2])
    named = set(re.findall(r"`([a-z_]+)`", text)) | (OPTIONS if "*options*" in text else set())
    assert named - OPTIONS <= found <= named


def test_every_option_is_named() -> None:
    options = PAGE[PAGE.index("*options* are the optional fields") : PAGE.index("A secret is")]
    assert set(re.findall(r"`([a-z_]+)`", options)) == OPTIONS


def test_what_every_image_starts_with() -> None:
    start = made_of()
    for text in (
        UV_IMAGE,
        PIXI_IMAGE,
        *(f"{name}={value}" for name, value in start.config.env if name.startswith("UV_")),
    ):
        assert f"`{text}`" in PAGE


def test_an_image_written_down_from_the_page_alone() -> None:
    """A base with a user, a shell and a path; packages, a variable, a folder, a command."""
    base = ResolvedImage(
        "r.example/base:1",
        "mirror.example/base:1",
        "sha256:" + "a" * 64,
        RuntimeConfig(
            env=(("PATH", "/usr/bin"),), user="app", shell=("/bin/bash", "-c"), other='{"StopSignal":"SIGINT"}'
        ),
    )
    made = made_of(
        pip("numpy<2,>=1", "a[x]", extra_args="-q"),
        SetEnv((("HERE", "/srv"),)),
        SetWorkDir("$HERE/x/.."),
        Command(shell="make"),
        base=base,
    )
    env = {
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "VIRTUALENV": "/opt/venv",
        "UV_PYTHON": "/opt/venv/bin/python",
        "PATH": "/opt/venv/bin:/usr/bin:/usr/local/nvidia/bin:/usr/local/cuda/bin",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib64",
    }
    step = {"cwd": "/", "env": env, "user": "root"}
    later = {"cwd": "/srv", "env": {**env, "HERE": "/srv"}, "user": "root"}
    uv = {"image": UV.digest, "source": "/uv", "path": "/usr/bin/uv"}
    packages = {"requirements": ["numpy<2,>=1", "a[x]"], "extra_args": "-q"}
    written = {
        "base": {"image": "sha256:" + "a" * 64},
        "platform": "linux/amd64",
        "layers": [
            {"emitter": 1, "kind": "uv", "spec": uv},
            {"emitter": 1, "kind": "venv", "spec": {"path": "/opt/venv", "python": "3.11"}, "step": step},
            {"emitter": 2, "kind": "pip", "spec": packages, "step": step},
            {"emitter": 2, "kind": "folder", "spec": {"path": "/srv", "owner": "app"}},
            {"emitter": 1, "kind": "command", "spec": {"args": ["/bin/bash", "-c", "make"]}, "step": later},
        ],
        "config": {
            "env": later["env"],
            "workdir": "/srv",
            "user": "app",
            "shell": ["/bin/bash", "-c"],
            "other": '{"StopSignal":"SIGINT"}',
        },
    }
    found = digests(made)
    assert independent.image(written) == {
        "base": found.base,
        "layers": list(found.layers),
        "config": found.config,
        "image": found.image,
    }
