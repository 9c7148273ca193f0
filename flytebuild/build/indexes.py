"""Images for several platforms: an index of images that are published already."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flytebuild.build.builder import Outcome
from flytebuild.build.stores import Destination
from flytebuild.errors import RegistryUnavailableError, StepFailure
from flytebuild.events import Emit, ImageFinished, ImageStarted
from flytebuild.plan import ImagePlan


async def publish(
    indexes: Sequence[ImagePlan], built: Sequence[Outcome], stores: Destination, emit: Emit
) -> tuple[Outcome, ...]:
    """Publish each index whose images are all there now; one that lacks an image is not touched, and says which."""
    failed = {outcome.image.reference: outcome for outcome in built if outcome.failure}
    cancelled = {outcome.image.reference for outcome in built if outcome.is_cancelled}
    return tuple(
        [
            Outcome(index, is_cancelled=True)
            if cancelled.intersection(member for _, member in index.members)
            else await _publish(index, failed, stores, emit)
            for index in indexes
        ]
    )


async def _publish(index: ImagePlan, failed: dict[str, Outcome], stores: Destination, emit: Emit) -> Outcome:
    started = time.monotonic()
    emit(ImageStarted(index.reference, index.environments, index.reference, ()))
    outcome = await _outcome(index, failed, stores)
    problem = outcome.failure.message if outcome.failure else None
    seconds = time.monotonic() - started
    emit(ImageFinished(index.reference, index.environments, index.reference, outcome.manifest, seconds, problem))
    return outcome


async def _outcome(index: ImagePlan, failed: dict[str, Outcome], stores: Destination) -> Outcome:
    for platform, member in index.members:
        if member in failed:
            known = failed[member]
            message = f"its image for `{platform}` was not built"
            return Outcome(
                index, failure=StepFailure("publishing the index", message, None, (), ()), vertex=known.vertex
            )
    try:
        manifest = await stores.publish_index(index)
    except RegistryUnavailableError as error:
        failure = StepFailure("publishing " + index.reference, error.message, None, (), index.environments)
        return Outcome(index, failure=failure)
    return Outcome(index, manifest=manifest)
