"""What importing modules in an image has shown, which counts more than what their definitions let expect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.check import inclusion
from flytebuild.check.finding import Finding, in_order

RULE = "import-fails"

Whose = Callable[[str, str], tuple[Sequence[str], str]]
"""Given an environment and a module: the environments whose images have it, and the requirement to ask for."""


class Answer(Struct, frozen=True):
    """What the program in an image said (`flytebuild.inside.importing`), or why it said nothing."""

    failures: tuple[Mapping[str, Any], ...] = ()
    absent: frozenset[str] = frozenset()
    problem: str = ""
    details: str = ""

    @classmethod
    def parse(cls, code: int, out: str, err: str) -> Answer:
        """Read what a container's process has written until it ended."""
        tail = "\n".join(err.splitlines()[-20:])
        try:
            document = json.loads(out)
            return cls(tuple(document["failures"]), frozenset(document["absent"]))
        except (ValueError, KeyError, TypeError):
            return cls(problem=f"Python ended there with exit code {code}, and no answer", details=tail)


def merge(
    findings: Sequence[Finding], answers: Mapping[str, Answer], whose: Whose, places: Mapping[str, str]
) -> tuple[Finding, ...]:
    """The findings with what was seen in the images, in the place of what was expected of them.

    `places` says where each environment is written.
    """
    failed = [item for name, answer in answers.items() for item in _failures(name, answer, whose, places)]
    known = {(item.environment, module) for item in failed for module in item.modules}
    kept = []
    for finding in findings:
        answer = answers.get(finding.environment)
        if finding.rule != inclusion.RULE or answer is None or answer.problem:
            kept.append(finding)
            continue
        for module in finding.modules:
            if module in answer.absent and (finding.environment, module) not in known:
                message = f"The image of `{finding.environment}` lacks `{module}`: it was looked for there"
                hint = _hint(finding.environment, module, whose, places) if finding.level == "unknown" else finding.hint
                kept.append(replace(finding, level="error", message=message, hint=hint, modules=(module,)))
    return in_order((*failed, *kept))


def _failures(name: str, answer: Answer, whose: Whose, places: Mapping[str, str]) -> Iterator[Finding]:
    if answer.problem:
        message = f"Whether the modules of `{name}` can be imported in its image is not known: {answer.problem}"
        yield Finding(RULE, "unknown", message, name, places.get(name, ""), details=answer.details)
    told: set[str] = set()
    for failure in answer.failures:
        missing = failure["missing"]
        if missing and missing in told:
            # Each module that imports it fails; one tells.
            continue
        told.add(missing or "")
        top = (missing or "").partition(".")[0]
        owners, _ = whose(name, missing) if missing else ((), "")
        elsewhere = f"; {inclusion.listed(owners)} {'has' if len(owners) == 1 else 'have'} it" if owners else ""
        frames = failure["frames"]
        file, line = (str(frames[-1][0]), int(frames[-1][1])) if frames else ("", 0)
        yield Finding(
            RULE,
            "error",
            f"`{failure['module']}` cannot be imported in the image of `{name}`: {_first(failure)}{elsewhere}",
            name,
            file,
            line,
            _hint(name, missing, whose, places) if missing else "",
            details="\n".join(_frames(frames)),
            modules=(top,) if top else (),
        )


def _hint(name: str, module: str, whose: Whose, places: Mapping[str, str]) -> str:
    return inclusion.addition(name, module, whose(name, module)[1], places.get(name, ""))


def _first(failure: Mapping[str, Any]) -> str:
    return f"{failure['type']}: {(str(failure['message']).splitlines() or ['no message'])[0]}"


def _frames(frames: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A traceback as Python writes it."""
    for file, line, function, text in frames:
        yield f'File "{file}", line {line}, in {function}'
        if text:
            yield f"  {text}"
