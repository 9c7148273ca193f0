"""Building images: the seam, the BuildKit implementation, and the wrappers that make up our policy."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from flytebuild.build.dockerfile import lower_dockerfile
from flytebuild.build.hints import hint
from flytebuild.build.labels import labels
from flytebuild.build.stores import Stores
from flytebuild.build.threads import in_thread
from flytebuild.buildkit.connection import Connection
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import MANIFEST_DIGEST, Solve, SolveError, image_config
from flytebuild.errors import StepFailure
from flytebuild.events import Emit, Event, ImageFinished, ImageStarted
from flytebuild.llb.lower import lower, origins
from flytebuild.llb.marshal import marshal
from flytebuild.plan import ImagePlan
from flytebuild.spec.digests import digests


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: its manifest's digest, or the step that failed, or another image's end was its own.

    `vertex` tells failures of one shared step apart from failures of different steps.
    """

    image: ImagePlan
    manifest: str | None = None
    failure: StepFailure | None = None
    vertex: str | None = None
    is_unavailable: bool = False
    is_cancelled: bool = False


class Builder(Protocol):
    """Builds and publishes one image; an image that fails is an Outcome, not an exception."""

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        """Build one image of a plan, which has a spec."""


@dataclass(frozen=True)
class BuildKitBuilder:
    """Solves on one BuildKit. Cancelling `build` stops the image's steps there.

    `has_bundle` says whether the session has a CA bundle for steps to trust.
    """

    connection: Connection
    session: str
    stores: Stores
    has_bundle: bool

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        started = time.monotonic()
        loop = asyncio.get_running_loop()

        def emit_from_thread(event: Event) -> None:
            loop.call_soon_threadsafe(emit, event)

        steps = tuple(layer.summary for layer in image.layers if layer.status != "present")
        emit(ImageStarted(image.reference, image.environments, image.reference, steps))
        progress = Progress(image.reference, emit_from_thread)

        def emit_end(manifest: str | None = None, problem: str | None = None, *, cancelled: bool = False) -> None:
            seconds = time.monotonic() - started
            names = image.environments
            emit(ImageFinished(image.reference, names, image.reference, manifest, seconds, problem, cancelled))

        try:
            outcome = Outcome(image, manifest=await self._solve(image, progress))
        except SolveError as error:
            outcome = _failed(image, error.reason, progress, self._origin(image, error.reason.vertex))
        except asyncio.CancelledError:
            emit_end(cancelled=True)
            raise
        emit_end(outcome.manifest, outcome.failure.message if outcome.failure else None)
        return outcome

    async def _solve(self, image: ImagePlan, progress: Progress) -> str | None:
        spec = image.spec
        if spec is None:
            raise ValueError(f"{image.reference} has no spec")
        said = labels(spec, digests(spec))
        # A Dockerfile's frontend makes the config itself, and is told the labels.
        config = image_config(spec.config, spec.platform, said) if spec.base else None
        work = marshal(lower(spec, has_bundle=self.has_bundle)) if spec.base else lower_dockerfile(spec, said)
        export = self.stores.of(image.reference).export(image.reference, config)
        solve = Solve(self.connection, self.session)
        running = in_thread(lambda: solve.run(work, export, progress), f"flytebuild-solve {image.short}")
        try:
            answer = await asyncio.shield(running)
        except asyncio.CancelledError:
            solve.cancel()
            await asyncio.wait([running])
            raise
        return answer.get(MANIFEST_DIGEST)

    def _origin(self, image: ImagePlan, vertex: str | None) -> str:
        """The place in the user's code that a failed vertex goes back to; a Dockerfile's image has one for all."""
        spec = image.spec
        if spec is None or vertex is None:
            return ""
        if spec.base is None:
            return spec.steps[0].origin
        return origins(spec, has_bundle=self.has_bundle).get(vertex, "")


@dataclass(frozen=True)
class Limited:
    """At most `jobs` images at a time: more would only contend for the builder's processors and disks."""

    builder: Builder
    jobs: asyncio.Semaphore

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        async with self.jobs:
            return await self.builder.build(image, emit)


def _failed(image: ImagePlan, reason: Failure, progress: Progress, origin: str) -> Outcome:
    step = progress.name(reason.vertex) if reason.vertex else "publishing " + image.reference
    log = progress.tail(reason.vertex) if reason.vertex else ()
    known = hint(reason.message, log, reason.exit_code, image.spec.platform) if image.spec else ""
    failure = StepFailure(
        step=step,
        message=reason.message,
        exit_code=reason.exit_code,
        log=log,
        environments=image.environments,
        hint=reason.hint or known,
        origin=origin,
    )
    return Outcome(image, failure=failure, vertex=reason.vertex, is_unavailable=reason.is_unavailable)
