"""Programs of the user's that are asked for something, and must not keep us waiting."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended: its exit code and what it wrote. What it printed may be a secret."""

    code: int
    output: bytes = field(repr=False)
    complaint: str


def ask(
    arguments: Sequence[str],
    *,
    deadline: float,
    question: bytes = b"",
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program to its end, with `question` as its standard input; it is killed after `deadline` seconds.

    Raises OSError when it cannot be started, and TimeoutError.
    """
    try:
        done = subprocess.run(
            arguments,
            input=question,
            capture_output=True,
            timeout=deadline,
            cwd=folder,
            env=environ,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # Without the error that has what it printed until then.
        raise TimeoutError(f"no answer within {deadline:g} s") from None
    return Ended(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))
