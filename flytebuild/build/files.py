"""The files of the host that builds take in, as the session serves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from flytebuild.buildkit.session.files import Files
from flytebuild.llb.source import local_name
from flytebuild.spec.layers import trees_of
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.tree import Entry


class ServedTree(Struct, frozen=True):
    """A tree with the places that its files were read from."""

    root: Path
    moved: Mapping[str, Path]
    entries: tuple[Entry, ...]


def served(specs: Iterable[ImageSpec]) -> Files:
    """All trees of these images, each once, by the names of their sources.

    Raises DefinitionError for names that BuildKit's protocol cannot carry.
    """
    trees = {}
    for spec in specs:
        for step in spec.steps:
            for tree in trees_of(step.layer):
                place = spec.roots[tree.digest]
                moved = {name: Path(path) for name, path in place.moved.items()}
                trees[local_name(tree.digest)] = ServedTree(Path(place.root), moved, tree.entries)
    return Files(trees)
