"""The user's code for the tests of checks: written, loaded and examined."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from unittest.mock import patch

from flytebuild.authoring.images import Reader
from flytebuild.authoring.loader import load
from flytebuild.authoring.subjects import LiveObjects, subjects
from flytebuild.check.examination import examine
from flytebuild.check.finding import Finding
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import Pin
from flytebuild.spec.model import Definition, ImageDefinition
from flytebuild.spec.specify import specify
from flytebuild.wheels.definitions import with_locked
from flytebuild.wheels.lock import Lock, LockedImage, LockedLayer
from flytebuild.wheels.questions import questions
from tests.samples import AMD64, UV


def text_of(file: str) -> str | None:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def examined(
    folder: Path, ignored: Sequence[str] = (), pins: Mapping[str, Sequence[Pin]] | None = None, **files: str
) -> tuple[Finding, ...]:
    """What is found in files, whose names have `__` for `/`; their modules are forgotten again.

    `pins` has what a lock says that the installing layer of an environment's image comes to.
    """
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ("" if "." in name else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    with patch.dict(sys.modules), patch.object(sys, "path", list(sys.path)):
        definitions = load([folder], stand_in=True)
        nodes = definitions.needed((), Reader())
        images = {node.name: _locked(node.image, pins[node.name]) for node in nodes if pins and node.name in pins}
        return examine(tuple(subjects(definitions, nodes)), LiveObjects(), text_of, ignored=ignored, images=images)


def _locked(image: Definition, pins: Sequence[Pin]) -> Definition:
    assert isinstance(image, ImageDefinition)
    base = ResolvedImage(image.base, image.base, "sha256:" + "1" * 64)
    spec = specify(image, AMD64, {UV.reference: UV, image.base: base})
    (question,) = questions(spec)
    layer = LockedLayer(question.layer.summary, str(AMD64), question.fingerprint, (), tuple(pins))
    return with_locked(image, Lock("", (LockedImage(image.base, str(AMD64), base.digest or ""),), (layer,)))


def said(findings: Sequence[Finding], rule: str, folder: Path) -> list[str]:
    """The findings of one rule, in words."""
    return [
        f"{item.level} {str(item.place).removeprefix(f'{folder}/')}: {item.message}"
        for item in findings
        if item.rule == rule
    ]
