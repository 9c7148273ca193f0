"""Lints about images: what makes them slow to build, different next year, or twice there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flytebuild.check.finding import Finding, split_place
from flytebuild.check.subject import Subject
from flytebuild.spec.layers import AptPackages, Copy, PipPackages
from flytebuild.spec.model import ImageDefinition, Placed

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


def examine(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """Findings about the layers of all images, once for each place that a layer is written at."""
    told: set[tuple[str, str, str]] = set()
    for subject in subjects:
        if not isinstance(subject.image, ImageDefinition):
            continue
        for finding in (*_order(subject, subject.image), *_pins(subject, subject.image)):
            mark = (finding.rule, finding.place, finding.message)
            if mark not in told:
                told.add(mark)
                yield finding
    yield from _twins(subjects)


def _order(subject: Subject, image: ImageDefinition) -> Iterator[Finding]:
    """Packages above copied files: BuildKit runs a step again when what is below it has changed."""
    copied: Placed | None = None
    for placed in image.parts:
        match placed.part:
            case Copy(tree=tree) if len(tree.entries) > 1 or not _is_list(tree.entries[0].path):
                copied = copied or placed
            case AptPackages() if copied:
                yield _late(subject, placed, copied, "the packages of Debian")
            case PipPackages(requirements=texts) if copied and (heavy := _heavy(texts)):
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
    return [name for name in map(_name, texts) if name in HEAVY]


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return ""


def _pins(subject: Subject, image: ImageDefinition) -> Iterator[Finding]:
    for placed in image.parts:
        if isinstance(placed.part, PipPackages) and (loose := _loose(placed.part.requirements)):
            file, line = split_place(placed.origin)
            shown = ", ".join(f"`{name}`" for name in loose[:3]) + (" …" if len(loose) > 3 else "")
            message = f"No exact version is asked for of {shown}"
            hint = "let `flytebuild lock` keep the versions of all packages, or write `name==version`"
            yield Finding("unpinned-requirement", "advice", message, subject.name, file, line, hint)
    name, _, tag = image.base.partition("@")[0].rpartition(":")
    is_moving = "@" not in image.base and (not name or "/" in tag or tag == "latest")
    if is_moving:
        file, line = split_place(image.origin)
        message = f"The base `{image.base}` is whatever its registry has under that name"
        hint = "name a version, or a digest: `name@sha256:…`; `flytebuild lock` keeps the digest of today"
        yield Finding("unpinned-base", "advice", message, subject.name, file, line, hint)


def _loose(texts: Sequence[str]) -> list[str]:
    found = []
    for text in texts:
        try:
            parsed = Requirement(text)
        except InvalidRequirement:
            continue
        if parsed.url is None and not any(item.operator in ("==", "===") for item in parsed.specifier):
            found.append(parsed.name)
    return found


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
