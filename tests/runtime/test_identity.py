from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import identity


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://me:hunter2@engine.example:2375")
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)


def fingerprint(config: Config) -> dict[str, object]:
    return identity.fingerprint(config, identity.read_bundle(config.ca_bundle))


def test_a_fingerprint_names_what_counts_and_no_secret(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"certificates")
    config = Config(home=tmp_path, mirrors={"ghcr.io": "me:hunter2@mirror/ghcr.io"}, ca_bundle=bundle)
    found = fingerprint(config)
    assert found["engine"] == "tcp://me@engine.example:2375"
    assert found["mirrors"] == {"ghcr.io": "me@mirror/ghcr.io"}
    assert found["ca_bundle"] == str(bundle)
    assert found["python"] == f"{os.path.realpath(sys.prefix)} ({os.path.realpath(sys.executable)})"
    assert "hunter2" not in json.dumps(found)
    assert "certificates" not in json.dumps(found)
    assert identity.differences(json.loads(json.dumps(found)), found) == {}


def test_an_interpreter_may_have_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fingerprint(Config(home=tmp_path))
    (tmp_path / "python3").symlink_to(sys.executable)
    (tmp_path / "venv").symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert identity.differences(fingerprint(Config(home=tmp_path)), one) == {}
    # Two environments may share an interpreter, and not what is installed.
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert list(identity.differences(fingerprint(Config(home=tmp_path)), one)) == ["python"]


def test_mirrors_have_no_order(tmp_path: Path) -> None:
    one = fingerprint(Config(home=tmp_path, mirrors={"a": "x", "b": "y"}))
    assert identity.differences(fingerprint(Config(home=tmp_path, mirrors={"b": "y", "a": "x"})), one) == {}


def test_what_differs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "a.pem", tmp_path / "b.pem"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    there = fingerprint(Config(home=tmp_path, ca_bundle=first))
    first.write_bytes(b"three")
    changed = fingerprint(Config(home=tmp_path, ca_bundle=first))
    assert identity.differences(there, changed) == {"ca_digest": "a CA bundle that has changed since"}
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    other = fingerprint(Config(home=tmp_path, ca_bundle=second, mirrors={"ghcr.io": "mirror"}))
    assert identity.differences(there, other) == {
        "engine": "engine `tcp://me@engine.example:2375` instead of `unix:///other.sock`",
        "mirrors": "mirrors (none) instead of `ghcr.io=mirror`",
        "ca_bundle": f"CA bundle `{first}` instead of `{second}`",
    }
    assert "flytebuild" in identity.differences(None, other), "one that tells nothing is not the wanted one"


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match=r"nothing\.pem"):
        identity.read_bundle(tmp_path / "nothing.pem")
