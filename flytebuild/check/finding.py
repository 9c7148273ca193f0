"""What a check finds, and the rules that it may find broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from msgspec import Struct

SCHEMA = "flytebuild.check/1"

Level: TypeAlias = Literal["error", "warning", "advice", "unknown"]
"""An `error` will fail when it runs; a `warning` is nearly always a mistake; `advice` is a matter of taste; `unknown`
is what could not be found out."""

_ORDER: tuple[Level, ...] = ("error", "warning", "unknown", "advice")

RULES: Mapping[str, str] = MappingProxyType(
    {
        "depends-on": "the images of a run are those of its environment and of what that depends on",
        "missing-package": "a task's module is imported in its own image, with everything that it imports",
        "import-fails": "a task's module is imported in its own image before the task runs",
        "secret-in-image": "whoever may pull an image can read its variables and its history",
        "secret-in-variable": "whoever sees a task's definition can read its variables",
        "package-after-source": "every edit of the files installs again what comes after them",
        "unpinned-requirement": "the same image means other packages next year",
        "unpinned-base": "what a moving tag means changes without a change of yours",
        "same-image-twice": "one image under two names is stored, pulled and shown twice",
    }
)
"""The reason of each rule."""


class Finding(Struct, frozen=True):
    """One sentence about one place: `file` as the user calls it, `line` from 1, 0 where it is not known.

    `environment` is the one whose definition is to be mended, `modules` are those that its image lacks, or may lack.
    """

    rule: str
    level: Level
    message: str
    environment: str
    file: str = ""
    line: int = 0
    hint: str = ""
    details: str = ""
    modules: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """`file:line`, as much of it as is known."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def is_serious(self) -> bool:
        """Whether a strict build is refused for it."""
        return self.level in ("error", "warning")


def split_place(origin: str) -> tuple[str, int]:
    """The file and the line of a `file:line`; the line is 0 where there is none."""
    file, separator, line = origin.rpartition(":")
    return (file, int(line)) if separator and line.isdecimal() else (origin, 0)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings with the most serious first, else as they come."""
    return tuple(sorted(findings, key=lambda item: _ORDER.index(item.level)))


def to_document(findings: tuple[Finding, ...], environments: tuple[str, ...]) -> dict[str, Any]:
    """Findings as JSON values; see `docs/checks.md`."""
    return {
        "schema": SCHEMA,
        "environments": list(environments),
        "findings": [
            {
                "rule": item.rule,
                "level": item.level,
                "message": item.message,
                "environment": item.environment,
                "file": item.file or None,
                "line": item.line or None,
                "hint": item.hint or None,
                "details": item.details or None,
            }
            for item in findings
        ],
    }
