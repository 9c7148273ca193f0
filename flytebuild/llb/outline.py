"""The outline of an image: its folders, links and owners as far as copies into the image can meet them.

A copy onto an outline does what it would do on the image itself: it goes through the image's links, leaves folders
that are there to whom they belong, finds the owners that the image knows, and fails where a file is in a folder's way.
But an outline holds no content, so that nobody has to fetch and unpack the image for it, and it stays the same while
other things in the image change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.inside import text_of
from flytebuild.llb.file import Owner, copy
from flytebuild.llb.run import BindMount, fill
from flytebuild.llb.state import State
from flytebuild.spec.images import Platform, RuntimeConfig

_IMAGE = "/run/flytebuild-survey/image"
_OUTLINE = "/run/flytebuild-survey/outline"


class Place(Struct, frozen=True):
    """Where files go to. What the image has in a folder there counts, and in these folders below it.

    Of `listed` ones that is what is directly in them, of `searched` ones everything that is below them.
    """

    path: str
    listed: frozenset[str] = frozenset()
    searched: frozenset[str] = frozenset()


class Surveyor(Struct, frozen=True):
    """A file system with a Python that works, whatever later steps did to the image, and the environment for it."""

    state: State
    python: str
    context: RuntimeConfig


def outline(
    image: State,
    places: Sequence[Place],
    usual: Sequence[Place],
    owners: Iterable[Owner],
    surveyor: Surveyor,
    platform: Platform,
) -> State:
    """The outline of `image` at `places`, and at the `usual` ones, with those of its names that `owners` have.

    The more of the usual places there are, the more often are outlines for different places equal after all.
    """
    given = list(owners)
    asked = {(place.path, tuple(sorted(place.listed)), tuple(sorted(place.searched))) for place in (*places, *usual)}
    wanted = {
        "places": sorted(asked),
        "users": sorted({owner.user for owner in given if isinstance(owner.user, str)}),
        "groups": sorted({owner.group for owner in given if isinstance(owner.group, str)}),
    }
    where = ", ".join(sorted({place.path for place in places}))
    drawn = fill(
        surveyor.state,
        # Neither the environment nor anything installed has a say in how Python starts. The program is an argument and
        # no file: making that would be a step, which an engine executes that has all else from a cache.
        (surveyor.python, "-I", "-S", "-c", text_of("survey"), _IMAGE, _OUTLINE, json.dumps(wanted, sort_keys=True)),
        replace(surveyor.context, workdir="/"),
        platform,
        name=f"look at {where}",
        target=_OUTLINE,
        binds=(BindMount(_IMAGE, image),),
    )
    # The copy is known by what it holds: images with equal outlines share all that is copied onto them.
    return copy(None, drawn, "/", "/", platform, name=f"outline of {where}", contents_only=True, owner=None)
