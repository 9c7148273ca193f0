"""Files that are copied when nothing is executed any more, merged with what is below them.

A copy onto the image would make BuildKit fetch and unpack the image, and copy again whenever something below changed.
These are copied onto the image's outline, and their layers are put on top of the image's, which takes no file's
content. `docs/decisions/0002-sources-are-merged.md` says why it is done in this way.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from flytebuild.llb.outline import Place
from flytebuild.spec.layers import Binary, Copy, Folder, LayerSpec, Venv
from flytebuild.spec.prefix import VENV
from flytebuild.spec.tree import Tree

_SYSTEM = frozenset(
    ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr", "var")
)
"""What distributions fill: https://refspecs.linuxfoundation.org/FHS_3.0/"""


def tail_of(layers: Sequence[LayerSpec]) -> int:
    """Where the copies begin that no later layer's process sees; the number of layers where there are none.

    Folders right before the first one are none of them: nothing of the host's is in these. Nor is anything in an image
    without a virtual environment, whose Python it takes to look.
    """
    start = len(layers)
    if not any(map(has_environment, layers)):
        return start
    for number in reversed(range(len(layers))):
        layer = layers[number]
        if isinstance(layer, Folder):
            continue
        if not isinstance(layer, Copy):
            break
        if number + 1 < len(layers) and _leads_out(layer.tree):
            # A later path may go through such a link to where nobody has looked: it is put into the image itself.
            break
        start = number
    return start


def has_environment(layer: LayerSpec) -> bool:
    """Whether the virtual environment that images begin with is there once a layer is, or was there before it."""
    return isinstance(layer, Venv) or (isinstance(layer, Binary) and layer.is_apart)


def place_of(layer: Copy | Folder) -> Place:
    """What a layer of the tail has to know of the image.

    That is said by a few folders of the tree, so that most changes of the tree ask for nothing else. Only where images
    are full of files these are all of its folders, so that not too much is drawn.
    """
    if isinstance(layer, Folder):
        return Place(layer.path)
    listed: set[str] = set()
    searched: set[str] = set()
    for entry in layer.tree.entries:
        if entry.kind == "dir" and (not (above := posixpath.dirname(entry.path)) or above in listed):
            (listed if _is_full(posixpath.join(layer.destination, entry.path)) else searched).add(entry.path)
    return Place(layer.destination, frozenset(listed), frozenset(searched))


def is_apart(place: Place, folder: str) -> bool:
    """Whether nothing that a place has to know is in a folder, which is there whatever is in it."""
    listed = {place.path, *(posixpath.join(place.path, name) for name in place.listed)}
    searched = {posixpath.join(place.path, name) for name in place.searched}
    is_in = any(f"{item}/".startswith(f"{folder}/") for item in listed | searched)
    return not is_in and not any(folder.startswith(f"{item.rstrip('/')}/") for item in searched)


def _is_full(folder: str) -> bool:
    """Whether a folder, by its name alone, holds a good part of an image."""
    return folder.split("/")[1] in _SYSTEM or f"{VENV}/".startswith(f"{folder}/") or folder.startswith(f"{VENV}/")


def _leads_out(tree: Tree) -> bool:
    """Whether a tree has a link to something that is not in it."""
    return any(entry.kind == "link" and not _is_inside(tree, entry.path, entry.target) for entry in tree.entries)


def _is_inside(tree: Tree, link: str, target: str) -> bool:
    if posixpath.isabs(target) or target != posixpath.normpath(target):
        return False
    return posixpath.normpath(posixpath.join(posixpath.dirname(link), target)) in tree.by_path
