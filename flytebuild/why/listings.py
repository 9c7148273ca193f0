"""What became of the packages that files list, each told in the line where it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flytebuild.spec.composition import Listings
from flytebuild.spec.differences import listed_changes
from flytebuild.spec.layers import Listed
from flytebuild.why.change import Change


def listed_in_files(
    number: int, before: Listings, after: Sequence[Listed], called: Mapping[str, str]
) -> Iterator[tuple[str, list[Change]]]:
    """The changes of layer `number`, by the paths of the files that have some.

    `called` is what the user calls a file that lists nothing any more.
    """
    for path in dict.fromkeys([*(item.path for item in after), *before]):
        here = {item.text: item.place for item in after if item.path == path}
        file = file_of(path, after) or called.get(path, path)
        found = [
            Change(number, "requirement", f"{name_of(file)}: {words}", was, text, here[text] if text else file)
            for words, was, text in listed_changes(before.get(path, ()), list(here))
        ]
        if found:
            yield path, found


def file_of(path: str, listed: Sequence[Listed]) -> str:
    """What the user calls a file, by what it lists; nothing where that is nothing."""
    return next((item.place.partition(":")[0] for item in listed if item.path == path), "")


def name_of(file: str) -> str:
    """A file without its folder, which its place has."""
    return file.rpartition("/")[2]
