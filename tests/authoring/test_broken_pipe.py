"""What ends `flyte run … | head`, where the SDK prints from a thread of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINTS = """
import sys, threading
import click
from rich.console import Console
from flytebuild.cli.plugin import hook_run

def work():
    while True:
        Console().print("a line")

hook_run(click.Group("run"))
if sys.argv[1] == "main":
    work()
threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("where", ["main", "another"])
def test_a_pipe_that_nobody_reads_ends_the_process(where: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PRINTS, where], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"a line\n"
        process.stdout.close()
        try:
            assert process.wait(timeout=60) == 1
        finally:
            process.kill()
