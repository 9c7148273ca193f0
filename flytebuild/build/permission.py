"""Whether images may be pushed to where they go: asked before anything is built, which may take minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flytebuild.build.refusal import DENIALS, login
from flytebuild.build.stores import Destination
from flytebuild.errors import RegistryUnavailableError
from flytebuild.plan import ImagePlan, is_in_engine
from flytebuild.registry.client import Refused
from flytebuild.registry.content import why_no_upload
from flytebuild.registry.reference import Reference, parse


async def denials(images: Sequence[ImagePlan], stores: Destination) -> dict[str, RegistryUnavailableError]:
    """Why images may not be pushed, by their references; each repository is asked once.

    Only a clear no counts. A registry that has another problem may not have it any more when an image is built.
    """
    if not stores.is_public:
        return {}
    places = {image.reference: parse(image.reference) for image in images if not is_in_engine(image.reference)}
    repositories = {place.name: place for place in places.values()}
    answers = await asyncio.gather(*(why_no_upload(stores.client, place) for place in repositories.values()))
    denied = {
        name: _error(place, answer)
        for (name, place), answer in zip(repositories.items(), answers, strict=True)
        if answer and answer.status in DENIALS
    }
    return {reference: denied[place.name] for reference, place in places.items() if place.name in denied}


def _error(place: Reference, refusal: Refused) -> RegistryUnavailableError:
    return RegistryUnavailableError(
        f"Nothing can be pushed to `{place.name}`: {refusal}",
        hint=login(place, "push there"),
    )
