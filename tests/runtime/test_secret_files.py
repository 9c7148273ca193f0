"""What a container with secrets as files begins with; the rest is tested on a real engine."""

from __future__ import annotations

import pytest

from flytebuild.runtime.secret_files import entry

IMAGE = {"Entrypoint": ["/init", "--"], "Cmd": ["serve"]}


@pytest.mark.parametrize(
    ("entrypoint", "arguments", "image", "becomes"),
    [
        (["a0"], ["--x"], IMAGE, ["a0", "--x"]),
        ([], ["a0", "--x"], IMAGE, ["/init", "--", "a0", "--x"]),
        ([], [], IMAGE, ["/init", "--", "serve"]),
        # As with the engine: an entrypoint of one's own does without the image's command.
        (["a0"], [], IMAGE, ["a0"]),
        ([], ["a0"], {"Entrypoint": None, "Cmd": None}, ["a0"]),
    ],
)
def test_it_becomes_what_it_would_have_been(
    entrypoint: list[str], arguments: list[str], image: dict[str, object], becomes: list[str]
) -> None:
    shell, option, script, name, *command = entry(entrypoint, arguments, image)
    assert (shell, option, name, command) == ("/bin/sh", "-c", "sh", becomes)
    assert script.endswith("exit 1\n")
