"""Findings as text: one sentence each, with its place, its rule and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from flytebuild.check.finding import Finding, Level

_STYLES: dict[Level, str] = {"error": "bold red", "warning": "bold yellow", "unknown": "magenta", "advice": "cyan"}
_SEVERAL: dict[Level, str] = {"error": "errors", "warning": "warnings", "unknown": "unknown", "advice": "advice"}


def render(findings: Sequence[Finding], environments: int) -> Text:
    """All findings and a summary, without a line end after its last line."""
    lines = [line for finding in findings for line in _finding(finding)]
    lines.append(Text(summary(findings, environments), "bold"))
    return Text("\n").join(lines)


def summary(findings: Sequence[Finding], environments: int) -> str:
    """One line: how many environments, how many findings of each level."""
    count = "1 environment" if environments == 1 else f"{environments} environments"
    numbers = Counter(finding.level for finding in findings)
    counted = [
        f"{number} {level if number == 1 else _SEVERAL[level]}" for level in _STYLES if (number := numbers[level])
    ]
    return ", ".join((count, *(counted or ["nothing found"])))


def _finding(finding: Finding) -> list[Text]:
    place = f"{finding.place}: " if finding.place else ""
    head = Text.assemble((finding.level, _STYLES[finding.level]), f": {place}{finding.message} ")
    lines = [head.append(f"({finding.rule})", "dim")]
    lines += [Text(f"  {line}") for line in finding.details.splitlines()]
    if finding.hint:
        lines.append(Text.assemble("  ", ("hint", "bold cyan"), f": {finding.hint}"))
    return [*lines, Text()]
