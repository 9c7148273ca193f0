"""References to images in the user's code, looked at before anything is asked of a registry."""

from __future__ import annotations

from functools import lru_cache

import flyte

from flytebuild.authoring.site import Site
from flytebuild.errors import UsageError
from flytebuild.registry.reference import parse, without_credentials
from flytebuild.spec.model import ExternalImage


def external(reference: str, site: Site) -> ExternalImage:
    """An image that is used as it is. Raises UnsupportedImageError for what is no reference."""
    check(reference, reference, "`{}`", site)
    return ExternalImage(reference)


def check_names(image: flyte.Image, site: Site) -> None:
    """Refuse names that no registry takes, before anything is asked of one."""
    if image.registry:
        check(f"{image.registry}/x", image.registry, "`{}`, the registry that it is for,", site)
    if image.name:
        check(f"r.example/{image.name}:t", image.name, "its name, `{}`,", site)


def check(text: str, given: str, words: str, site: Site) -> None:
    """Refuse what is no reference; `given` is the part of it that the user wrote, for the gap in `words`."""
    if _is_reference(text):
        return
    what = words.format(shown := without_credentials(given))
    if shown != given:
        raise site.error(
            f"{what} holds credentials", hint="leave them out; `docker login` keeps them where flytebuild finds them"
        )
    raise site.error(
        f"{what} cannot be part of an image reference",
        hint="an example of one: `registry.example.com/team/image:tag`; letters are small, and there is no `https://`",
    )


@lru_cache(maxsize=1024)
def _is_reference(text: str) -> bool:
    try:
        parse(text)
    except UsageError:
        return False
    return True
