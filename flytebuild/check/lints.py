"""Lints about images: what makes them slow to build, different next year, or twice there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from flytebuild.check.finding import Finding, split_place
from flytebuild.check.packages import Read, asked
from flytebuild.check.subject import Subject
from flytebuild.spec.layers import (
    AptPackages,
    Command,
    Copy,
    PipPackages,
    PixiProject,
    PoetryProject,
    Requirements,
    UvProject,
)
from flytebuild.spec.model import DockerfileDefinition, ImageDefinition, Placed
from flytebuild.spec.requirement import Requirement, parse

HEAVY = frozenset(
    {
        *("catboost", "cupy", "diffusers", "jax", "jaxlib", "keras", "lightgbm", "lightning", "llvmlite", "numba"),
        *("onnxruntime", "onnxruntime-gpu", "opencv-python", "opencv-python-headless", "paddlepaddle", "polars"),
        *("pyarrow", "pyspark", "pytorch-lightning", "ray", "scikit-learn", "scipy", "sentence-transformers", "spacy"),
        *("tensorflow", "tensorflow-cpu", "tensorrt", "torch", "torchaudio", "torchvision", "transformers", "triton"),
        *("vllm", "xformers", "xgboost"),
    }
)
"""Distributions that take long to fetch and to unpack: 20 MB and more, with what they need."""


_RELEASED = re.compile(r"ghcr\.io/flyteorg/flyte:py\d+\.\d+-v\d[\w.-]*")
"""Flyte's own base of a release, which is pushed once (`flyte.Image.from_debian_base`)."""

_APT = re.compile(r"\bapt(?:-get)?\b[^;&|]*\binstall\b")
_COMMIT = re.compile(r"@[0-9a-f]{40}\b")


def examine(subjects: Sequence[Subject], read: Read, locked: Collection[str] = ()) -> Iterator[Finding]:
    """Findings about the layers of all images, once for each place that a layer is written at.

    `read` returns the text of a file; `locked` are the names of images that a lock has the digests of.
    """
    told: set[tuple[str, str, str]] = set()
    for subject in subjects:
        match subject.image:
            case ImageDefinition() as image:
                bases = _bases(subject, [image.base], image.origin, locked)
                found = (*_order(subject, image, read), *_pins(subject, image, read), *bases)
            case DockerfileDefinition() as image:
                found = tuple(_bases(subject, image.images, image.origin, locked))
            case _:
                found = ()
        for finding in found:
            mark = (finding.rule, finding.place, finding.message)
            if mark not in told:
                told.add(mark)
                yield finding
    yield from _twins(subjects)


def _order(subject: Subject, image: ImageDefinition, read: Read) -> Iterator[Finding]:
    """Packages above copied files: BuildKit runs a step again when what is below it has changed."""
    copied: Placed | None = None
    for placed in image.parts:
        match placed.part:
            case Copy(tree=tree) if len(tree.entries) > 1 or not _is_list(tree.entries[0].path):
                copied = copied or placed
            case AptPackages() if copied:
                yield _late(subject, placed, copied, "the packages of Debian")
            case Command() as command if copied and _APT.search(command.shell or " ".join(command.args)):
                yield _late(subject, placed, copied, "the packages of Debian")
            case UvProject() | PoetryProject() | PixiProject() if copied:
                yield _late(subject, placed, copied, "the project's packages")
            case PipPackages() | Requirements() if copied and (heavy := _heavy(asked(placed, image.roots, read))):
                yield _late(subject, placed, copied, ", ".join(f"`{name}`" for name in heavy[:3]))


def _is_list(name: str) -> bool:
    """Whether a file is one that packages are installed from."""
    return name.endswith((".txt", ".lock", ".toml", ".yml", ".yaml", ".whl"))


def _late(subject: Subject, placed: Placed, copied: Placed, what: str) -> Finding:
    file, line = split_place(placed.origin)
    where = f" ({copied.origin})" if copied.origin and copied.origin != placed.origin else ""
    message = f"Every edit of the files that are copied before{where} installs {what} again"
    return Finding(
        "package-after-source", "warning", message, subject.name, file, line, "copy the files after the packages"
    )


def _heavy(texts: Sequence[str]) -> list[str]:
    return [found.name for found in map(parse, texts) if found and found.name in HEAVY]


def _pins(subject: Subject, image: ImageDefinition, read: Read) -> Iterator[Finding]:
    for placed in image.parts:
        is_asked = isinstance(placed.part, PipPackages | Requirements)
        if is_asked and (loose := _loose(asked(placed, image.roots, read))):
            file, line = split_place(placed.origin)
            shown = ", ".join(f"`{name}`" for name in loose[:3]) + (" …" if len(loose) > 3 else "")
            message = f"No exact version is asked for of {shown}"
            hint = "let `flytebuild lock` keep the versions of all packages, or write `name==version`"
            yield Finding("unpinned-requirement", "advice", message, subject.name, file, line, hint)


def _bases(subject: Subject, names: Sequence[str], origin: str, locked: Collection[str]) -> Iterator[Finding]:
    """Images that others are made from, by a tag: it leads to another one when its owner builds that anew."""
    for name in names:
        if "@" in name or name in locked or _RELEASED.fullmatch(name):
            continue
        file, line = split_place(origin)
        message = f"The base `{name}` is whatever its registry has under that name"
        hint = "let `flytebuild lock` keep the digest of today, or write it: `name@sha256:…`"
        yield Finding("unpinned-base", "advice", message, subject.name, file, line, hint)


def _loose(texts: Sequence[str]) -> list[str]:
    """The packages of which no requirement says exactly which one it is; files of constraints count as well."""
    asked = [parsed for parsed in map(parse, texts) if parsed]
    exact = {parsed.name for parsed in asked if _is_exact(parsed)}
    return list({parsed.name: parsed.written for parsed in asked if parsed.name not in exact}.values())


def _is_exact(requirement: Requirement) -> bool:
    if requirement.url:
        return not requirement.url.startswith("git+") or bool(_COMMIT.search(requirement.url))
    return any(
        operator == "===" or (operator == "==" and not version.endswith(".*"))
        for operator, version in requirement.specifiers
    )


def _twins(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Images that are equal but for their names."""
    names: dict[ImageDefinition, Subject] = {}
    for subject in subjects:
        if not isinstance(subject.image, ImageDefinition) or not subject.image.parts:
            continue
        first = names.setdefault(replace(subject.image, name="", registry=None), subject)
        other = first.image
        if isinstance(other, ImageDefinition) and other.name != subject.image.name and _is_chosen(subject, first):
            file, line = split_place(subject.image.origin)
            message = f"The images of `{first.name}` and `{subject.name}` are the same under two names"
            hint = f"give both the name `{other.name}`, or the same `flyte.Image`"
            yield Finding("same-image-twice", "advice", message, subject.name, file, line, hint)


def _is_chosen(*subjects: Subject) -> bool:
    """Whether somebody gave these images their names; those that have none are called as their environments are."""
    return all(isinstance(item.image, ImageDefinition) and item.image.name != item.name for item in subjects)
