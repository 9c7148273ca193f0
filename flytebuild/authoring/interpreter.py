"""Which Python an image has: the one that its base has, else the one that was asked for."""

from __future__ import annotations

import re
import sys

import flyte

from flytebuild.authoring.site import Site, python_origin_of

_OWN_BASE = re.compile(r"(?:^|/)flyte:py(\d+)\.(\d+)-v[^/]*$")
"""Flyte's own image, wherever it is mirrored: it has a virtual environment, which stays as it is."""


def python_of(image: flyte.Image, base: str, site: Site) -> str:
    """The version, `3.11`, of a virtual environment that is made where the base has none.

    An image of the SDK always has a version; without a word of the user's it is that of the process that made it, which
    says nothing about a base that has its own. Raises UnsupportedImageError for what is no version, and where another
    one was asked for than Flyte's own base has.
    """
    asked: object = image.python_version
    if not isinstance(asked, tuple) or len(asked) != 2 or not all(isinstance(part, int) for part in asked):
        raise site.error(f"its `python_version` is `{asked!r}`, not a pair of numbers", hint="write it as `(3, 11)`")
    found = _OWN_BASE.search(base)
    if found is None:
        return f"{asked[0]}.{asked[1]}"
    has = (int(found[1]), int(found[2]))
    origin = python_origin_of(image)
    if asked != has and (origin or asked != sys.version_info[:2]):
        raise site.at(site.layer, origin or site.origin).error(
            f"Python {asked[0]}.{asked[1]} was asked for, and its base `{base}` has {has[0]}.{has[1]}",
            hint=f"start from `flyte.Image.from_debian_base(python_version=({asked[0]}, {asked[1]}))`",
        )
    return f"{has[0]}.{has[1]}"
