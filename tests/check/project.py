"""The user's code for the tests of checks: written, loaded and examined."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from unittest.mock import patch

from flytebuild.authoring.images import Reader
from flytebuild.authoring.loader import load
from flytebuild.authoring.subjects import LiveObjects, subjects
from flytebuild.check.examination import examine
from flytebuild.check.finding import Finding


def text_of(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def examined(folder: Path, ignored: Sequence[str] = (), **files: str) -> tuple[Finding, ...]:
    """What is found in files, whose names have `__` for `/`; their modules are forgotten again."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ("" if "." in name else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    with patch.dict(sys.modules), patch.object(sys, "path", list(sys.path)):
        definitions = load([folder])
        nodes = definitions.needed((), Reader())
        return examine(tuple(subjects(definitions, nodes)), LiveObjects(), text_of, ignored=ignored)


def said(findings: Sequence[Finding], rule: str, folder: Path) -> list[str]:
    """The findings of one rule, in words."""
    return [
        f"{item.level} {str(item.place).removeprefix(f'{folder}/')}: {item.message}"
        for item in findings
        if item.rule == rule
    ]
