"""Image references."""

import pytest

from flytebuild.errors import UsageError
from flytebuild.registry.reference import mirrored, parse, without_credentials

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.11", "docker.io/library/python:3.11"),
        ("team/image", "docker.io/team/image:latest"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ("localhost/a:1", "localhost/a:1"),
        (f"a.io/b@{DIGEST}", f"a.io/b@{DIGEST}"),
        (f"a.io/b:1@{DIGEST}", f"a.io/b:1@{DIGEST}"),
    ],
)
def test_defaults(written: str, full: str) -> None:
    assert str(parse(written)) == full
    assert str(parse(full)) == full


@pytest.mark.parametrize(
    "text", ["", "A/b", "a:", "a b", "a.io/", "a@sha256:1", "a:b:c", "a.io/x:" + "t" * 129, "a b.io/x", "a.io:x/y"]
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError, match="not an image reference"):
        parse(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(UsageError, match=r"^`…@ghcr\.io/x:1` is not an image reference$"):
        parse("us:hunter2@ghcr.io/x:1")
    assert without_credentials(f"a.io/b:1@{DIGEST}") == f"a.io/b:1@{DIGEST}"


def test_mirrors_replace_whole_segments_the_longest_first() -> None:
    mirrors = {"ghcr.io": "m.io/ghcr", "ghcr.io/team": "t.io", "docker.io": "m.io/hub"}
    assert mirrored("ghcr.io/a/b:1", mirrors) == "m.io/ghcr/a/b:1"
    assert mirrored("ghcr.io/team/b:1", mirrors) == "t.io/b:1"
    assert mirrored("ghcr.io/teams/b:1", mirrors) == "m.io/ghcr/teams/b:1"
    assert mirrored("python:3", mirrors) == "m.io/hub/library/python:3"
    assert mirrored("quay.io/x:1", mirrors) == "quay.io/x:1"


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1:5000", True), ("localhost", True), ("ghcr.io", False)])
def test_loopback(host: str, loopback: bool) -> None:
    assert parse(f"{host}/a:1").is_loopback is loopback
