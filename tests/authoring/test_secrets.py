"""Secrets that layers ask for."""

from pathlib import Path

import flyte
import pytest

from flytebuild.authoring.images import define
from flytebuild.errors import UnsupportedImageError

BASE = flyte.Image.from_base("r.example/base:1").clone(name="x", extendable=True)
PLACE = Path("/etc/flyte/secrets")


def test_two_secrets_at_one_place_are_refused() -> None:
    two = [flyte.Secret(key="one", mount=PLACE), flyte.Secret(key="two", mount=PLACE)]
    with pytest.raises(UnsupportedImageError, match="`one` and `two`, are mounted at `/etc/flyte/secrets`"):
        define(BASE.with_commands(["true"], secret_mounts=two), "env")


def test_two_secrets_in_one_variable_are_refused() -> None:
    two = [flyte.Secret(key="one", as_env_var="TOKEN"), flyte.Secret(key="two", as_env_var="TOKEN")]
    with pytest.raises(UnsupportedImageError, match="`one` and `two`, are given as `TOKEN`, where only one can be"):
        define(BASE.with_commands(["true"], secret_mounts=two), "env")
    two = [flyte.Secret(key="b", group="a"), flyte.Secret(key="a-b")]
    with pytest.raises(UnsupportedImageError, match="`b` and `a-b`, are given as `A_B`"):
        define(BASE.with_commands(["true"], secret_mounts=two), "env")


def test_a_secret_may_be_a_file_and_a_variable() -> None:
    """Flyte's builder forgets the variable then."""
    both = define(
        BASE.with_commands(["true"], secret_mounts=[flyte.Secret(key="one", as_env_var="ONE", mount=PLACE)]), "env"
    )
    each = [flyte.Secret(key="one", mount=PLACE), flyte.Secret(key="one")]
    assert both == define(BASE.with_commands(["true"], secret_mounts=each), "env")


def test_one_secret_twice_is_one_secret() -> None:
    once = define(BASE.with_commands(["true"], secret_mounts=[flyte.Secret(key="one", mount=PLACE)]), "env")
    twice = define(BASE.with_commands(["true"], secret_mounts=[flyte.Secret(key="one", mount=PLACE)] * 2), "env")
    assert once == twice
