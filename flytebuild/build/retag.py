"""Images that are there under another name already: named, not built."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.build.builder import Outcome
from flytebuild.build.stores import Destination
from flytebuild.errors import StepFailure, UnavailableError
from flytebuild.events import Emit, ImageFinished, Notice
from flytebuild.plan import ImagePlan
from flytebuild.registry.publish import IncompleteError


async def retag(images: Sequence[ImagePlan], stores: Destination, emit: Emit) -> tuple[list[Outcome], list[ImagePlan]]:
    """Name images from others that are there; those that could not be named have to be built instead."""
    ended = await asyncio.gather(*(_retag(image, stores, emit) for image in images))
    refused = [item for item in ended if isinstance(item, _Refusal)]
    for item in refused:
        emit(Notice(f"`{item.image.reference}` is built, since it cannot be re-tagged: {item.reason}"))
    return [item for item in ended if isinstance(item, Outcome)], [item.image for item in refused]


async def retag_built(
    images: Sequence[ImagePlan], built: Mapping[str, Outcome], stores: Destination, emit: Emit
) -> list[Outcome]:
    """Name images from others that this build has made, or not."""
    ready = [image for image in images if not _is_lost(built[image.copied_from or ""])]
    ended = await asyncio.gather(*(_retag(image, stores, emit) for image in ready))
    outcomes = [item if isinstance(item, Outcome) else _failed(item.image, item.reason, None) for item in ended]
    for image in images:
        source = built[image.copied_from or ""]
        if source.is_cancelled:
            outcomes.append(Outcome(image, is_cancelled=True))
        elif source.failure:
            outcomes.append(_failed(image, "the same image was not built under its other name", source))
    return outcomes


class _Refusal(Struct, frozen=True):
    """An image that could not be named from another one, and why."""

    image: ImagePlan
    reason: str


async def _retag(image: ImagePlan, stores: Destination, emit: Emit) -> Outcome | _Refusal:
    source, started = image.copied_from or "", time.monotonic()
    try:
        manifest = await stores.copy(image, source)
    except (UnavailableError, IncompleteError) as error:
        return _Refusal(replace(image, copied_from=None), str(error))
    seconds = time.monotonic() - started
    names = image.environments
    emit(ImageFinished(image.reference, names, image.reference, manifest, seconds, copied_from=source))
    return Outcome(image, manifest=manifest)


def _is_lost(outcome: Outcome) -> bool:
    return outcome.is_cancelled or outcome.failure is not None


def _failed(image: ImagePlan, message: str, source: Outcome | None) -> Outcome:
    """A failure that is told together with the one that it comes from."""
    failure = StepFailure("publishing " + image.reference, message, None, (), image.environments)
    if source and source.failure:
        failure = replace(source.failure, environments=image.environments)
    return Outcome(image, failure=failure, vertex=source.vertex if source else None)
