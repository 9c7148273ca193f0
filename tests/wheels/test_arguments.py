"""Which options of a layer decide versions, which say where from, and which keep it from being locked."""

import re

import pytest

from flytebuild.spec.layers import PipOptions, Secret
from flytebuild.wheels.arguments import Arguments, NotLockableError, read


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (PipOptions(), Arguments()),
        (PipOptions(pre=True, extra_args="--pre -q"), Arguments(which=("--pre",))),
        (
            PipOptions("https://i/s", ("https://a/s",), extra_args="--extra-index-url=https://b/s -U"),
            Arguments("https://i/s", ("https://a/s", "https://b/s"), which=("--upgrade",)),
        ),
        (
            PipOptions(extra_args="-f https://l/links --index-strategy unsafe-best-match -P six --no-deps"),
            Arguments(
                where=("--find-links", "https://l/links", "--index-strategy", "unsafe-best-match"),
                which=("--upgrade-package", "six", "--no-deps"),
            ),
        ),
        (PipOptions(extra_args="--exclude-newer '2026-01-01'"), Arguments(which=("--exclude-newer", "2026-01-01"))),
    ],
)
def test_options_that_are_understood(options: PipOptions, found: Arguments) -> None:
    assert read(options) == found


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (PipOptions(extra_args="--reinstall"), "what `--reinstall` does"),
        (PipOptions(extra_args="-r more.txt"), "what `-r` does"),
        (PipOptions(extra_args="six"), "what `six` does"),
        (PipOptions(extra_args="--no-binary six"), "what `--no-binary` does"),
        (PipOptions(extra_args="--pre && rm -r /"), "means something to a shell"),
        (PipOptions(extra_args="$(cat more)"), "means something to a shell"),
        (PipOptions(extra_args="--find-links /wheels"), "`/wheels` is a folder in the image"),
        (PipOptions("file:///index/simple"), "`file:///index/simple` is a folder in the image"),
        (PipOptions(extra_args="--resolution"), "`--resolution` has no value"),
        (PipOptions(extra_args="'"), "cannot be understood"),
        (PipOptions(secrets=(Secret("", "netrc", target="/root/.netrc"),)), "a secret as a file"),
    ],
)
def test_options_that_are_not(options: PipOptions, reason: str) -> None:
    with pytest.raises(NotLockableError, match=re.escape(reason)):
        read(options)


def test_installing_pins_needs_indexes_and_their_secrets_alone() -> None:
    secret = Secret("", "token", env="TOKEN")
    options = PipOptions(
        "https://${TOKEN}@i/s", pre=True, extra_args="--upgrade --find-links https://l/x?y=1", secrets=(secret,)
    )
    assert read(PipOptions(options.index_url, extra_args="-f https://l/x")).installing(options) == PipOptions(
        "https://${TOKEN}@i/s", extra_args="--find-links https://l/x", secrets=(secret,)
    )
