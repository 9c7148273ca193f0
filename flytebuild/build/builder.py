"""Building images: the seam, the BuildKit implementation, and the wrappers that make up our policy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct, field

from flytebuild.build.anew import executed_anew
from flytebuild.build.cache import BuildCache, BuiltImage
from flytebuild.build.dockerfile import lower_dockerfile
from flytebuild.build.hints import hint
from flytebuild.build.labels import labels
from flytebuild.build.solves import Solves
from flytebuild.build.stores import Destination
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import MANIFEST_DIGEST, Cache, SolveError, image_config
from flytebuild.errors import RegistryUnavailableError, StepFailure
from flytebuild.events import Emit, Event, ImageFinished, ImageStarted, Notice
from flytebuild.llb.lower import lower, origins
from flytebuild.llb.marshal import marshal
from flytebuild.llb.merge import merging
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.state import State
from flytebuild.plan import ImagePlan
from flytebuild.registry.publish import IncompleteError
from flytebuild.spec.digests import digests
from flytebuild.spec.model import ImageSpec


class Outcome(Struct, frozen=True):
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


class BuildKitBuilder(Struct, frozen=True):
    """Solves on one BuildKit. Cancelling `build` stops the image's steps there.

    `has_bundle` says whether the session has a CA bundle for steps to trust, `can_merge` whether that BuildKit merges
    layers without unpacking them.
    """

    solver: Solves
    stores: Destination
    cache: BuildCache
    has_bundle: bool
    can_merge: bool = True
    proxies: Proxies = field(default_factory=Proxies)
    _built: list[BuiltImage] = field(default_factory=list)
    _lost: list[str] = field(default_factory=list)

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
            outcome = Outcome(image, manifest=await self._publish(image, progress, emit))
        except SolveError as error:
            outcome = _failed(image, error.reason, progress, self._origin(image, error.reason, progress))
        except (IncompleteError, RegistryUnavailableError) as error:
            outcome = _failed(image, Failure(str(error)), progress, "")
        except asyncio.CancelledError:
            emit_end(cancelled=True)
            raise
        emit_end(outcome.manifest, outcome.failure.message if outcome.failure else None)
        return outcome

    async def keep_cache(self, emit: Emit) -> None:
        """Write to the cache what the images have that were built here; to be called when all of them have ended.

        A BuildKit that merges no layers exports no cache either.
        """
        if self.can_merge:
            await self.cache.keep(self._built, self.solver, emit, all_of_it=bool(self._lost))

    async def _publish(self, image: ImagePlan, progress: Progress, emit: Emit) -> str | None:
        """Build it, once more without the cache when a registry has lost a part of it meanwhile, and put its tag."""
        try:
            return await self._solve(image, progress, self.cache.imports)
        except SolveError as error:
            if error.reason.is_torn_cache:
                return await self._make_anew(image, progress, emit)
            if not error.reason.is_lost_content:
                raise
            lost = error.reason.message
        except IncompleteError as error:
            lost = str(error)
        self._lost.append(lost)
        emit(Notice(f"the image of {', '.join(image.environments)} is built once more, without the cache: {lost}"))
        progress.restart()
        return await self._solve(image, progress, ())

    async def _make_anew(self, image: ImagePlan, progress: Progress, emit: Emit) -> str | None:
        """Execute every step once more, since the builder's own cache has one that it cannot use."""
        names = ", ".join(image.environments)
        emit(Notice(f"the image of {names} is built anew: a build that was broken off has left a step half kept"))
        progress.restart()
        return await self._solve(image, progress, (), is_anew=True)

    async def _solve(
        self, image: ImagePlan, progress: Progress, imports: Sequence[Cache], *, is_anew: bool = False
    ) -> str | None:
        spec = image.spec
        if spec is None:
            raise ValueError(f"{image.reference} has no spec")
        said = labels(spec, digests(spec))
        # A Dockerfile's frontend makes the config itself, and is told the labels.
        config = image_config(spec.config, spec.platform, said) if spec.base else None
        state = self._lower(spec) if spec.base else None
        progress.merging = merging(state) if state else frozenset()
        work = marshal(state) if state else lower_dockerfile(spec, said, self.proxies)
        if is_anew:
            work = executed_anew(work)
        store = self.stores.of(image.reference)
        answer = await self.solver.solve(
            work,
            store.export(image.reference, config),
            progress,
            image.short,
            imports=imports,
            exports=self.cache.exports,
        )
        manifest = answer.get(MANIFEST_DIGEST)
        if manifest is None:
            return None
        published = await store.publish(image, manifest)
        if self.stores.is_public:
            self._built.append(BuiltImage(spec, image.reference, manifest))
        return published

    def _origin(self, image: ImagePlan, reason: Failure, progress: Progress) -> str:
        """The place in the user's code that a failed vertex goes back to; for a Dockerfile's, its line there too."""
        spec, vertex = image.spec, reason.vertex
        if spec and spec.base is None and (vertex or not progress.has_exported):
            return ", ".join(filter(None, (spec.steps[0].origin, reason.line)))
        if spec is None or vertex is None:
            return ""
        places = origins(spec, has_bundle=self.has_bundle, can_merge=self.can_merge, proxies=self.proxies)
        return places.get(vertex, "")

    def _lower(self, spec: ImageSpec) -> State:
        return lower(spec, has_bundle=self.has_bundle, can_merge=self.can_merge, proxies=self.proxies)


class Limited(Struct, frozen=True):
    """At most `jobs` images at a time: more would only contend for the builder's processors and disks."""

    builder: Builder
    jobs: asyncio.Semaphore

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        async with self.jobs:
            return await self.builder.build(image, emit)


def _failed(image: ImagePlan, reason: Failure, progress: Progress, origin: str) -> Outcome:
    step = progress.name(reason.vertex) if reason.vertex else _unnamed(image, progress)
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


def _unnamed(image: ImagePlan, progress: Progress) -> str:
    """What failed that was no vertex: a frontend's reading of a Dockerfile, or what comes after the last step."""
    if image.spec and image.spec.base is None and not progress.has_exported:
        return f"reading the {image.spec.steps[0].layer.summary}"
    return "publishing " + image.reference
