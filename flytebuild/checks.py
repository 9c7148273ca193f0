"""The checks of loaded definitions: the pure rules meet the user's files; what plans and builds say of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.subjects import LiveObjects, subjects
from flytebuild.check.examination import examine
from flytebuild.check.finding import RULES, Finding
from flytebuild.config import Config
from flytebuild.errors import CheckError, ConfigError
from flytebuild.graph import EnvironmentNode

_SHOWN = 5
"""Findings that a plan tells; `flytebuild check` has them all."""


def check(config: Config, definitions: Definitions, nodes: Sequence[EnvironmentNode]) -> tuple[Finding, ...]:
    """What is found in the environments of a closure, the most serious first.

    Raises ConfigError where a rule is to be ignored that there is not.
    """
    for name in config.ignore:
        if name not in RULES:
            nearest = difflib.get_close_matches(name, RULES, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else "rules: " + ", ".join(f"`{rule}`" for rule in RULES)
            raise ConfigError(f"`ignore` in `{config.sources.get('ignore', '?')}` names no rule: `{name}`", hint=hint)
    found = tuple(subjects(definitions, nodes))
    return examine(found, LiveObjects(), _text_of, ignored=config.ignore)


def warnings(findings: Sequence[Finding]) -> Iterator[str]:
    """What a plan says of findings: a sentence for each serious one, up to a number that can still be read."""
    serious = [finding for finding in findings if finding.is_serious]
    for finding in serious[:_SHOWN]:
        yield sentence(finding)
    if more := len(serious[_SHOWN:]):
        yield f"{more} more of that kind; `flytebuild check` shows all, with hints"


def refuse(findings: Sequence[Finding]) -> None:
    """Raise CheckError where a serious one is among them."""
    if serious := [sentence(finding) for finding in findings if finding.is_serious]:
        raise CheckError(serious)


def sentence(finding: Finding) -> str:
    """A finding in one line: its place, what it is, its rule."""
    place = f"{finding.place}: " if finding.place else ""
    return f"{place}{finding.message} ({finding.rule})"


def _text_of(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
