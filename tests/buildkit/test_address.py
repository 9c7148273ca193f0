"""Addresses of BuildKit: which there are, and what they come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytebuild import engine
from flytebuild.buildkit.address import Certificates, DaemonAddress, Plain, Secured, Through, locate, parse
from flytebuild.config import Config, load
from flytebuild.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("docker-container://b", "docker exec -i b buildctl dial-stdio"),
        ("docker-container://B_1.x?context=far", "docker --context=far exec -i B_1.x buildctl dial-stdio"),
        ("podman-container://b", "podman exec -i b buildctl dial-stdio"),
        ("kube-pod://b", "kubectl exec -i b -- buildctl dial-stdio"),
        (
            "kube-pod://b?context=k8s&namespace=n&container=c",
            "kubectl --context=k8s --namespace=n exec --container=c -i b -- buildctl dial-stdio",
        ),
        ("ssh://h", "ssh -o BatchMode=yes -- h buildctl dial-stdio"),
        ("ssh://Me@Host:22", "ssh -o BatchMode=yes -l Me -p 22 -- Host buildctl dial-stdio"),
        ("ssh://[fe80::1]:22", "ssh -o BatchMode=yes -p 22 -- fe80::1 buildctl dial-stdio"),
        ("ssh://h/run/b.sock", "ssh -o BatchMode=yes -- h buildctl --addr unix:///run/b.sock dial-stdio"),
    ],
)
def test_programs_that_carry_the_connection(url: str, command: str) -> None:
    assert parse(url).way == Through(tuple(command.split()))


def test_sockets_and_tls() -> None:
    assert parse("unix:///run/bk.sock").way == Plain("unix:/run/bk.sock")
    assert parse("tcp://b.example:1234").way == Plain("b.example:1234")
    given = Certificates(ca=Path("ca.pem"))
    assert parse("tcp://[::1]:1234", certificates=given).way == Secured("[::1]:1234", given)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "of no kind that we know"),
        ("/run/bk.sock", "of no kind that we know"),
        ("http://b:1", "of no kind that we know"),
        ("unix://run/bk.sock", "an absolute path"),
        ("unix://", "an absolute path"),
        ("tcp://b", "a host and a port"),
        ("tcp://b:99999", "Port out of range"),
        ("tcp://me@b:1", "a host and a port"),
        ("docker-container://", "`` is no name"),
        ("docker-container://--privileged", "`--privileged` is no name"),
        ("docker-container://b?context=--x", "`--x` is no name"),
        ("docker-container://b?foo=1", "parts that such an address has not"),
        ("docker-container://b/c", "parts that such an address has not"),
        ("podman-container://b?context=c", "parts that such an address has not"),
        ("kube-pod://b;c", "`b;c` is no name"),
        ("kube-pod://b#c", "parts that such an address has not"),
        ("ssh://-oProxyCommand=x", "no user and host"),
        ("ssh://-l@h", "no user and host"),
        ("ssh://h?x=1", "parts that such an address has not"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse(url, "`BUILDKIT_HOST`")
    assert "in `BUILDKIT_HOST` cannot be used" in caught.value.message
    assert caught.value.exit_code == 64
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("known ones: `unix:///PATH`")


def test_a_password_is_neither_taken_nor_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("ssh://me:pa55@h")
    assert "pa55" not in caught.value.message


def test_a_certificate_and_its_key_belong_together() -> None:
    with pytest.raises(ConfigError, match="belong together"):
        parse("tcp://b:1", certificates=Certificates(certificate=Path("c.pem")))


def test_the_configured_builder_comes_before_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/mine.sock")
    assert locate(Config()) == engine.locate()
    assert locate(Config()).source == "`DOCKER_HOST`"
    file = tmp_path / "flytebuild.toml"
    file.write_text('builder = "tcp://a:1"\nbuilder_ca = "ca.pem"\n')
    expected = Secured("a:1", Certificates(ca=tmp_path / "ca.pem"))
    assert locate(load(tmp_path, {})) == DaemonAddress("tcp://a:1", f"`{file}`", expected)
    environ = {"BUILDKIT_HOST": "unix:///b"}
    assert locate(load(tmp_path, environ)) == DaemonAddress("unix:///b", "`BUILDKIT_HOST`", Plain("unix:/b"))
    environ["FLYTEBUILD_BUILDER"] = "unix:///c"
    assert locate(load(tmp_path, environ)).source == "`FLYTEBUILD_BUILDER`"
    environ["FLYTEBUILD_BUILDER"] = ""
    assert locate(load(tmp_path, environ)) == engine.locate()


@pytest.mark.parametrize(
    "url", ["npipe:////./pipe/docker", "ftp://h", "tcp://", "ssh://-oProxyCommand=x", "ssh://-x@h"]
)
def test_an_address_that_no_engine_can_have_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", url)
    with pytest.raises(ConfigError, match="from `DOCKER_HOST`") as caught:
        engine.locate()
    assert caught.value.hint


def test_a_password_in_an_engine_s_address_is_not_shown() -> None:
    address = engine.EngineAddress("tcp://me:pa55@h:1", "`DOCKER_HOST`")
    assert engine.unavailable(address).message == "No Docker Engine answers at `tcp://me@h:1` (from `DOCKER_HOST`)"
