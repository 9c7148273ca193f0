"""The credentials that BuildKit is given for the registries of a build.

It asks by host alone. Where credentials are kept for a place within a registry, those count that are for a repository
of the build, its own images' before those that they start from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flytebuild.plan import ImagePlan
from flytebuild.registry.credentials import Found, look_up
from flytebuild.registry.docker_config import normalised
from flytebuild.registry.reference import parse


def for_build(
    images: Iterable[ImagePlan],
    tell: Callable[[str], None],
    find: Callable[[str, str], Found] = look_up,
) -> Callable[[str], tuple[str, str] | None]:
    """What finds a user name and password by a registry's host; `tell` gets to know once why there are none."""
    repositories: dict[str, dict[str, None]] = {}
    planned = list(images)
    for text in (
        *(image.reference for image in planned),
        *(base.location for image in planned if image.spec for base in image.spec.images),
    ):
        reference = parse(text)
        repositories.setdefault(normalised(reference.registry), {})[reference.repository] = None
    told: set[str] = set()

    def pair(host: str) -> tuple[str, str] | None:
        problem = ""
        for repository in (*repositories.get(normalised(host), ()), ""):
            found = find(host, repository)
            if found.credentials:
                return found.credentials.username, found.credentials.secret
            problem = problem or found.problem
        if problem and problem not in told:
            told.add(problem)
            tell(f"There are no credentials for `{host}`: {problem}")
        return None

    return pair
