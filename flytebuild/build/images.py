"""Building all images of a plan: in parallel, each reported for itself, failures shared and told once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from flytebuild.build.builder import Builder, Outcome
from flytebuild.build.cache import local_folder
from flytebuild.build.credentials import for_build
from flytebuild.build.files import served
from flytebuild.build.indexes import publish
from flytebuild.build.permission import denials
from flytebuild.build.retag import retag, retag_built
from flytebuild.build.secrets import host_passwords, host_secrets, layer_secrets
from flytebuild.build.stores import Destination
from flytebuild.build.veil import Veil, Veiled
from flytebuild.build.yard import open_yard
from flytebuild.buildkit.session.content import BlobFolder
from flytebuild.buildkit.session.providers import Provider, RegistryCredentials, Secrets, StreamProvider
from flytebuild.config import Config
from flytebuild.errors import (
    BuildError,
    EngineUnavailableError,
    RegistryUnavailableError,
    StepFailure,
    UnavailableError,
    UsageError,
)
from flytebuild.events import Emit, Notice
from flytebuild.history import remember
from flytebuild.plan import ImagePlan, Plan, is_in_engine
from flytebuild.plan.unknown import CHECK_REGISTRY, silent
from flytebuild.state import State
from flytebuild.threads import in_thread


async def build_images(
    plan: Plan, config: Config, stores: Destination, state: State, emit: Emit, *, fail_fast: bool = False
) -> tuple[Outcome, ...]:
    """Build what the plan says is missing; images that are there are left alone, or only named once more.

    An image whose base could not be looked at, or that could not be pushed, fails before it starts. Raises BuildError
    after all images have ended when at least one failed, UnavailableError when there is none that could be started,
    EngineUnavailableError without an engine, or when the connection to it is lost.
    """
    _refuse_unreachable(plan)
    hopeless = {image.reference for image in plan.to_build if image.spec and image.spec.problem} | plan.unreachable
    unresolved = [_unresolved(image) for image in plan.to_build if image.spec and image.reference in hopeless]
    images = [image for image in plan.to_build if image.spec and image.reference not in hopeless]
    denied = await denials(images, stores)
    if denied and len(denied) == len(images) and not unresolved and not plan.to_copy:
        raise next(iter(denied.values()))
    unresolved += [_denied(image, denied[image.reference]) for image in images if image.reference in denied]
    images = [image for image in images if image.reference not in denied]
    indexes = [image for image in plan.to_build if image.members]
    if unresolved and not images and not plan.to_copy:
        raise _all_unresolved([image for image in plan.to_build if image.spec])
    waiting = [image for image in plan.to_copy if image.copied_from in {item.reference for item in images}]
    named, refused = await retag([image for image in plan.to_copy if image not in waiting], stores, emit)
    images += refused
    if not images and not indexes and not unresolved:
        state.record_published((item.image.digest or "", item.image.reference) for item in named)
        remember((item.image for item in named), plan, state)
        return tuple(named)
    if stores.is_public:
        _refuse_indexes_without_registry(indexes)
    secrets = await _secrets(images, config)
    providers = await _providers(images, config, secrets, stores, emit)
    async with open_yard(images, config, stores, state, providers, emit, fail_fast=fail_fast) as yard:
        veil = Veil([*secrets.values(), *host_passwords(os.environ)])
        built = await _build_all(images, Veiled(yard.builder, veil), emit)
        named += await retag_built(waiting, {item.image.reference: item for item in built}, stores, emit)
        await yard.keep_cache(emit)
    ended = [*built, *named, *unresolved]
    if stores.is_public:
        state.record_published((item.image.digest or "", item.image.reference) for item in ended if item.manifest)
        remember((item.image for item in ended if item.manifest), plan, state)
    outcomes = (*ended, *await publish(indexes, ended, stores, emit))
    failed = [item for item in outcomes if item.failure]
    if failed and all(item.is_unavailable for item in failed):
        raise EngineUnavailableError(
            f"The connection to the BuildKit at {yard.shown} was lost while it was building",
            hint="look at its log, or the engine's; the same command goes on from what was built",
        )
    if failed:
        cancelled = [item.image.reference for item in outcomes if item.is_cancelled]
        done = [item for item in outcomes if not item.failure and not item.is_cancelled]
        manifests = {item.image.reference: item.manifest for item in done}
        raise BuildError(_failures(outcomes), manifests=manifests, failed=len(failed), cancelled=cancelled)
    return outcomes


async def _secrets(images: Sequence[ImagePlan], config: Config) -> dict[str, bytes]:
    """What the layers of the images ask for. Raises DefinitionError for a secret that is missing."""
    specs = [image.spec for image in images if image.spec]
    return await in_thread(lambda: layer_secrets(specs, os.environ, config.secrets), "flytebuild-secrets")


async def _providers(
    images: Sequence[ImagePlan], config: Config, secrets: Mapping[str, bytes], stores: Destination, emit: Emit
) -> tuple[Provider | StreamProvider, ...]:
    """What BuildKit may ask for: secrets, credentials, files."""
    specs = [image.spec for image in images if image.spec]
    folder = local_folder(config)
    return (
        Secrets({**host_secrets(config, os.environ), **secrets}),
        RegistryCredentials(for_build(images, _teller(emit))),
        await asyncio.to_thread(served, specs),
        *stores.providers,
        *(BlobFolder(folder).providers() if folder else ()),
    )


async def _build_all(images: Sequence[ImagePlan], builder: Builder, emit: Emit) -> tuple[Outcome, ...]:
    if not images:
        return ()
    tasks = [asyncio.create_task(builder.build(image, emit)) for image in images]
    try:
        # Not `gather`, which passes a cancellation on: told to stop twice, an image would not wait for its steps.
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()
        return tuple(task.result() for task in tasks)
    except BaseException:
        # Ctrl-C, or a defect of ours: no solve may outlive the command.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _failures(outcomes: Sequence[Outcome]) -> list[StepFailure]:
    """One entry per failing step, with all environments that it broke."""
    found: dict[object, StepFailure] = {}
    for outcome in outcomes:
        if outcome.failure is None:
            continue
        key = outcome.vertex or outcome.image.reference
        known = found.get(key)
        if known:
            merged = (*known.environments, *outcome.failure.environments)
            found[key] = replace(
                known,
                environments=merged,
                log=known.log or outcome.failure.log,
                origin=known.origin or outcome.failure.origin,
            )
        else:
            found[key] = outcome.failure
    return list(found.values())


def _unresolved(image: ImagePlan) -> Outcome:
    """The failure of an image that cannot even be started."""
    what = "base" if image.spec and image.spec.problem else "registry"
    failure = StepFailure(f"looking at the {what}", image.reason, None, (), image.environments)
    return Outcome(image, failure=failure)


def _denied(image: ImagePlan, error: RegistryUnavailableError) -> Outcome:
    """The failure of an image that may not be pushed."""
    message, hint = error.message, error.hint or ""
    return Outcome(image, failure=StepFailure("asking to push", message, None, (), image.environments, hint))


def _all_unresolved(images: Sequence[ImagePlan]) -> UnavailableError:
    names = ", ".join(f"`{name}`" for image in images for name in image.environments)
    problems = "; ".join(dict.fromkeys(image.reason for image in images))
    what = "The image of" if len(images) == 1 else "The images of"
    return UnavailableError(
        f"{what} {names} cannot be built: {problems}",
        hint="check the name and the network, or set `mirrors` to where the base can be found",
    )


def _refuse_unreachable(plan: Plan) -> None:
    """End before anything is built where nothing of it could be pushed. Who may not read may still push."""
    if plan.to_build and plan.unreachable.issuperset(image.reference for image in plan.to_build):
        message = f"{silent(plan.to_build)}, so nothing that is built could be pushed there"
        raise RegistryUnavailableError(message, hint=CHECK_REGISTRY)


def _refuse_indexes_without_registry(indexes: Sequence[ImagePlan]) -> None:
    if any(is_in_engine(image.reference) for image in indexes):
        raise UsageError(
            "An image for several platforms needs a registry: an engine's store holds what the engine can run",
            hint="set `registry`, or build for one platform",
        )


def _teller(emit: Emit) -> Callable[[str], None]:
    """What tells the user something from any thread."""
    loop = asyncio.get_running_loop()

    def tell(words: str) -> None:
        # The loop may be closed already when a cancelled solve still asks for something.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(emit, Notice(words))

    return tell
