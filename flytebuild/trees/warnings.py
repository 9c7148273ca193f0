"""What a tree may surprise with, though it can be built.

Links that lead nowhere, names that only look different, a repository's history.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterator

from msgspec import Struct

from flytebuild.spec.tree import Entry, Tree
from flytebuild.trees.problems import shown

_LINKS_AT_MOST = 40


class TreeWarning(Struct, frozen=True):
    """One entry's surprise: `message` is a sentence without a full stop that names the path."""

    path: str
    message: str


def warnings(tree: Tree) -> tuple[TreeWarning, ...]:
    """All of a tree, in the order of its entries."""
    return tuple(_warnings(tree))


def _warnings(tree: Tree) -> Iterator[TreeWarning]:
    composed: dict[str, str] = {}
    for entry in tree.entries:
        if entry.kind == "link":
            yield from _of_link(tree, entry)
        elif entry.kind == "dir" and (entry.path == ".git" or entry.path.endswith("/.git")):
            yield TreeWarning(
                entry.path,
                f"`{shown(entry.path)}` is copied as well, and changes with every commit; a line `**/.git` in the "
                "ignore file leaves it out",
            )
        if entry.path.isascii():
            continue
        folder, slash, name = entry.path.rpartition("/")
        alike = folder + slash + unicodedata.normalize("NFC", name)
        # Some signs (the one for kelvin) are composed to an ASCII letter, whose own turn never comes.
        is_plain = alike.isascii() and alike in tree.by_path
        other = composed.setdefault(alike, alike if is_plain else entry.path)
        if other != entry.path:
            yield TreeWarning(
                entry.path,
                f"`{shown(entry.path)}` has the same name as `{shown(other)}` once both are composed (NFC): some file"
                " systems keep only one of them",
            )


def _of_link(tree: Tree, link: Entry) -> Iterator[TreeWarning]:
    problem = _problem(tree, link)
    if problem:
        yield TreeWarning(link.path, f"the link `{shown(link.path)}` leads to `{shown(link.target)}`, {problem}")


def _problem(tree: Tree, link: Entry) -> str:
    """Follow a link within its tree, links on the way included, as the kernel would: what is wrong with it."""
    entries = tree.by_path
    place = posixpath.dirname(link.path).split("/") if "/" in link.path else []
    pending = link.target.split("/")[::-1]
    if link.target.startswith("/"):
        return "which is outside of the folder"
    followed = 1
    while pending:
        component = pending.pop()
        if component in ("", "."):
            continue
        if component == "..":
            if not place:
                return "which is outside of the folder"
            place.pop()
            continue
        place.append(component)
        found = entries.get("/".join(place))
        if found is None:
            return "which is not there or left out"
        if found.kind == "link":
            followed += 1
            if followed > _LINKS_AT_MOST:
                return "which never ends"
            if found.target.startswith("/"):
                return "which is outside of the folder"
            place.pop()
            pending += found.target.split("/")[::-1]
        elif found.kind != "dir" and pending:
            return "which is not there or left out"
    return ""
