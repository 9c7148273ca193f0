"""Images for several platforms: an index of images that are published already."""

from __future__ import annotations

import time
from collections.abc import Sequence

from flytebuild.build.builder import Outcome
from flytebuild.build.labels import IMAGE
from flytebuild.errors import RegistryUnavailableError, StepFailure
from flytebuild.events import Emit, ImageFinished, ImageStarted
from flytebuild.plan import ImagePlan
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.publish import publish_index
from flytebuild.registry.reference import parse


async def publish(
    indexes: Sequence[ImagePlan], built: Sequence[Outcome], client: RegistryClient, emit: Emit
) -> tuple[Outcome, ...]:
    """Publish each index whose images are all there now; one that lacks an image is not touched, and says which."""
    failed = {outcome.image.reference: outcome for outcome in built if outcome.failure}
    cancelled = {outcome.image.reference for outcome in built if outcome.is_cancelled}
    return tuple(
        [
            Outcome(index, is_cancelled=True)
            if cancelled.intersection(member for _, member in index.members)
            else await _publish(index, failed, client, emit)
            for index in indexes
        ]
    )


async def _publish(index: ImagePlan, failed: dict[str, Outcome], client: RegistryClient, emit: Emit) -> Outcome:
    started = time.monotonic()
    emit(ImageStarted(index.reference, index.environments, index.reference, ()))
    outcome = await _outcome(index, failed, client)
    problem = outcome.failure.message if outcome.failure else None
    seconds = time.monotonic() - started
    emit(ImageFinished(index.reference, index.environments, index.reference, outcome.manifest, seconds, problem))
    return outcome


async def _outcome(index: ImagePlan, failed: dict[str, Outcome], client: RegistryClient) -> Outcome:
    for platform, member in index.members:
        if member in failed:
            known = failed[member]
            message = f"its image for `{platform}` was not built"
            return Outcome(
                index, failure=StepFailure("publishing the index", message, None, (), ()), vertex=known.vertex
            )
    try:
        members = {platform: parse(member) for platform, member in index.members}
        manifest = await publish_index(client, parse(index.reference), members, {IMAGE: index.digest or ""})
    except RegistryUnavailableError as error:
        failure = StepFailure("publishing " + index.reference, error.message, None, (), index.environments)
        return Outcome(index, failure=failure)
    return Outcome(index, manifest=manifest)
