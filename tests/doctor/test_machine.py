from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from flytebuild.amounts import size
from flytebuild.config import Config
from flytebuild.doctor.check import Check, exit_code
from flytebuild.doctor.machine import examine_machine
from tests.buildkit.doors import Authority


def checks(config: Config) -> dict[str, Check]:
    return {item.subject: item for item in examine_machine(config)}


def test_a_bundle_and_its_authorities(tmp_path: Path) -> None:
    file = Authority.made(tmp_path / "ca").file
    check = checks(Config(ca_bundle=file, sources={"ca_bundle": "SSL_CERT_FILE"}))["ca bundle"]
    assert (check.status, check.message) == ("ok", f"`{file}` with one authority, from `SSL_CERT_FILE`")
    assert checks(Config())["ca bundle"].status == "ok"


def test_a_bundle_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "bundle.pem").write_text("nothing of the kind")
    check = checks(Config(ca_bundle=tmp_path / "bundle.pem"))["ca bundle"]
    assert (check.status, check.exit_code) == ("failed", 64)
    assert "PEM" in check.hint


def test_a_flyte_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks(Config())["flyte"].status == "ok"
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.99.0" if name == "flyte" else version(name))
    check = checks(Config())["flyte"]
    assert check.status == "failed"
    assert check.message.startswith("flyte 2.99.0 is none that flytebuild")
    assert check.hint.startswith("`pip install 'flyte")


def test_the_first_failure_says_how_it_ends() -> None:
    fine, bad, worse = Check("a", "warning", ""), Check("b", "failed", "", "", 69), Check("c", "failed", "", "", 64)
    assert exit_code((fine,)) == 0
    assert exit_code((fine, bad, worse)) == 69


def test_sizes() -> None:
    assert [size(count) for count in (0, 999, 1000, 2_500_000, 3 * 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "2.5 MB",
        "3000.0 TB",
    ]
