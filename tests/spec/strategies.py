"""Layers of every kind at random, with texts that are close to one another: what a careless encoding would mix up."""

import hashlib
from collections.abc import Callable

from hypothesis import strategies as st

from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import (
    AptPackages,
    Binary,
    Command,
    Copy,
    Dockerfile,
    Folder,
    LayerSpec,
    LocalPackage,
    Pin,
    Pinned,
    PipOptions,
    PipPackages,
    PixiProject,
    PoetryProject,
    Requirements,
    Secret,
    UvProject,
    Venv,
    WheelLayer,
    Wheels,
)
from flytebuild.spec.model import Part, RunAs, SetEnv, SetLabels, SetWorkDir
from flytebuild.spec.tree import Tree
from tests.samples import file_tree

TEXT = st.sampled_from(["a", "b", "ab", 'a","b', "a b", "a\\", "é", "\U0001f600", "true", "1", "{}"]) | st.text(
    st.characters(codec="utf-8"), min_size=1, max_size=3
)
MAYBE = st.just("") | TEXT
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
ONE_OR_MORE = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
NAMES = st.sampled_from(["A", "B", "AB", "self", "é"])
PAIRS = st.dictionaries(NAMES, TEXT, max_size=3).map(lambda found: tuple(sorted(found.items())))
MODES = st.sampled_from(["dependencies_only", "install_project"])
SECRETS = st.lists(
    st.builds(Secret, MAYBE, TEXT, TEXT) | st.builds(Secret, MAYBE, TEXT, st.just(""), TEXT), max_size=2, unique=True
).map(lambda found: tuple(sorted(found)))
OPTIONS = st.builds(PipOptions, MAYBE, TEXTS, st.booleans(), MAYBE, SECRETS)


def _tree(name: str) -> Tree:
    return file_tree(name, hashlib.sha256(name.encode()).hexdigest(), len(name))


TREES = st.sampled_from(["a", "b", "ab"]).map(_tree)
PACKAGES = st.lists(st.builds(LocalPackage, TEXT, TREES), max_size=2, unique_by=lambda item: item.path).map(
    lambda found: tuple(sorted(found, key=lambda item: item.path))
)
RESOLVED = st.sampled_from("123").map(lambda digit: ResolvedImage("tool:1", "mirror/tool:1", "sha256:" + digit * 64))
IMAGES = RESOLVED | TEXT.map(lambda name: ResolvedImage(name, name, problem="?"))
PINS = st.lists(st.builds(Pin, TEXT, TEXT, TEXT, TEXT, MAYBE, st.none() | st.integers(0, 3)), max_size=2).map(tuple)
WHEEL_LAYERS = st.lists(
    st.builds(WheelLayer, PINS, IMAGES, TEXT, TEXT.map(lambda name: Platform("linux", name)), TEXT), max_size=2
).map(tuple)
RECIPES = st.sampled_from(["chain", "layers"])
NAMED_IMAGES = st.lists(TEXT, max_size=2, unique=True).map(
    lambda names: tuple(ResolvedImage(name, name, "sha256:" + "1" * 64) for name in sorted(names))
)

BY_KIND: dict[str, st.SearchStrategy[LayerSpec]] = {
    "uv": st.builds(Binary, st.just("uv"), IMAGES, TEXT, TEXT, st.booleans()),
    "pixi": st.builds(Binary, st.just("pixi"), IMAGES, TEXT, TEXT),
    "venv": st.builds(Venv, TEXT, TEXT),
    "pip": st.builds(PipPackages, TEXTS, OPTIONS),
    "requirements": st.builds(Requirements, TREES, TEXT, OPTIONS),
    "wheels": st.builds(Wheels, TEXT, TREES, OPTIONS),
    "pinned": st.builds(Pinned, PINS, RECIPES, OPTIONS, st.none() | st.builds(PipPackages, TEXTS), WHEEL_LAYERS),
    "uv-project": st.builds(UvProject, MODES, TREES, st.booleans(), PACKAGES, OPTIONS),
    "poetry-project": st.builds(PoetryProject, MODES, TREES, TEXT, PACKAGES, MAYBE, SECRETS),
    "pixi-project": st.builds(
        PixiProject, TEXT, TEXT, st.booleans(), st.none() | TREES, PAIRS, PACKAGES, MAYBE, SECRETS
    ),
    "apt": st.builds(AptPackages, TEXTS, SECRETS),
    "command": st.builds(Command, TEXT, st.just(()), SECRETS) | st.builds(Command, st.just(""), ONE_OR_MORE, SECRETS),
    "copy": st.builds(Copy, TREES, TEXT, st.booleans(), MAYBE),
    "folder": st.builds(Folder, TEXT, MAYBE),
    "dockerfile": st.builds(Dockerfile, TREES, TREES, NAMED_IMAGES, st.just(""), st.none() | IMAGES),
}

KINDS = frozenset(BY_KIND)
LAYERS: st.SearchStrategy[LayerSpec] = st.one_of(*BY_KIND.values())
_LITERAL: Callable[[str], str] = lambda text: text.replace("\\", "").replace("$", "").replace("\0", "")  # noqa: E731
SETTINGS = st.one_of(
    PAIRS.map(lambda pairs: SetEnv(tuple((name, _LITERAL(value)) for name, value in pairs))),
    PAIRS.map(SetLabels),
    TEXT.map(lambda text: SetWorkDir(_LITERAL(text) or "/")),
    TEXT.map(RunAs),
)
PARTS: st.SearchStrategy[Part] = st.one_of(
    *(made for kind, made in BY_KIND.items() if kind not in ("uv", "pixi", "dockerfile")), SETTINGS
)
