"""The main path: load, walk, specify, look, plan, build."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flytebuild import folders, history
from flytebuild.authoring.environments import Definitions, refuse
from flytebuild.authoring.images import Reader
from flytebuild.config import Config
from flytebuild.errors import DefinitionError, UsageError
from flytebuild.events import Emit, Notice, ignore
from flytebuild.graph import EnvironmentNode, without
from flytebuild.looking import Outside, Remembered, published
from flytebuild.pinning.specified import decided, pinned, platforms, specified, undecided
from flytebuild.plan import Observation, Plan, is_in_engine, make_plan, references
from flytebuild.spec.model import ExternalImage
from flytebuild.state import BuildRecord, State
from flytebuild.trees.statcache import StatCache

if TYPE_CHECKING:
    from flytebuild.build.builder import Outcome
    from flytebuild.build.output import Output
    from flytebuild.build.stores import Stores
    from flytebuild.plan.experience import Experience
    from flytebuild.plan.forecast import Forecast
    from flytebuild.wheels.lock import Lock
    from flytebuild.wheels.resolver import Moves
    from flytebuild.why import Earlier

_ELSEWHERE = 4
"""Places that are looked at for one image that is missing where it should be."""

_ELSEWHERE_SECONDS = 3.0
"""How long that may take: it only saves a build, and a registry of yesterday may be out of reach today."""


async def plan(config: Config, paths: Sequence[Path], targets: Sequence[str] = (), emit: Emit = ignore) -> Plan:
    """What the targets in these files need (everything that they define, without targets), and what is there of it."""
    # Loaded here: who is asked by Flyte's own tools has loaded the code already.
    from flytebuild.authoring.loader import load

    return await plan_definitions(config, load(paths), targets, emit)


async def plan_definitions(
    config: Config,
    definitions: Definitions,
    targets: Sequence[str] = (),
    emit: Emit = ignore,
    *,
    outputs: Sequence[Path] = (),
    are_files: bool = False,
    is_checked: bool = True,
    strict: bool = False,
    is_partial: bool = False,
    fresh: float = 0.0,
) -> Plan:
    """The same for code that is loaded already. `outputs` are files that come of it, which no image may take in.

    Images that become files need neither a registry nor an engine. What checks find is told where it `is_checked`; when
    `strict`, CheckError is raised for it. When it `is_partial`, and without targets, what cannot be planned is among
    the plan's `problems`, and hides nothing else. What was answered less than `fresh` seconds ago is not asked again.
    """
    problems: tuple[DefinitionError, ...] = ()
    refused: dict[str, DefinitionError] | None = {} if is_partial and not targets else None
    with reader(config, emit, outputs) as read:
        if refused is not None:
            nodes, problems = definitions.usable(read)
        else:
            nodes = definitions.needed(targets, read)
    omissions = definitions.omissions() if targets else ()
    for message in (*omissions, *definitions.open_bundles(node.name for node in nodes)):
        emit(Notice(message))
    if is_checked:
        # Loaded here: who plans what is known has no definitions.
        from flytebuild import checks

        findings = checks.check(config, definitions, nodes)
        if strict:
            checks.refuse(findings)
        for message in checks.warnings(findings):
            emit(Notice(message))
    planned = await plan_nodes(config, nodes, emit, are_files=are_files, fresh=fresh, refused=refused)
    problems = (*problems, *(refused or {}).values())
    if not planned.environments:
        refuse(problems)
    return replace(planned, problems=problems)


async def plan_nodes(
    config: Config,
    nodes: Sequence[EnvironmentNode],
    emit: Emit = ignore,
    *,
    are_files: bool = False,
    fresh: float = 0.0,
    refused: dict[str, DefinitionError] | None = None,
) -> Plan:
    """The same for environments whose closure is known.

    Where `refused` is given, environments whose image cannot be are put there, each with its error, and left out with
    those that depend on them; else the first one's is raised.
    """
    async with Outside(config, are_files=are_files) as outside:
        with State.open(folders.state_file(), emit=emit) as state:
            known = Remembered(outside, state, config, fresh)
            is_ours = any(not isinstance(node.image, ExternalImage) for node in nodes)
            tell = emit if is_ours else ignore
            decide = partial(decided, config, outside, state, tell)
            specs = await pinned(nodes, config, known, tell, decide, refused)
            nodes = without(nodes, refused or ())
            specs = {node.name: specs[node.name] for node in nodes if node.name in specs}
            asked = [item for variants in specs.values() for item in references(variants, config.registry)]
            observed = await known.observe_all(asked)
            planned = make_plan(nodes, specs, config.registry, observed)
            elsewhere, earlier, new = await _past(planned, observed, known, state)
            made = history.made(planned, state)
            known.keep()
    if elsewhere or earlier or new:
        planned = make_plan(nodes, specs, config.registry, observed, elsewhere, earlier, new)
    return replace(planned, as_of=known.oldest, made=planned.made | made)


async def lock(
    config: Config,
    nodes: Sequence[EnvironmentNode],
    moves: Moves,
    emit: Emit = ignore,
    *,
    is_partial: bool = False,
) -> Lock:
    """What the lock becomes for these environments; the file stays as it is. Errors as in `locking.lock`."""
    # Loaded here: only who makes a lock needs what reads bases and wheels.
    from flytebuild.pinning import locking
    from flytebuild.wheels import lockfile

    async with _asking(config, emit) as (outside, state):
        before = lockfile.read(config.lock) if config.lock else None
        kept = locking.without(before, moves)
        specs = await specified(nodes, outside, await platforms(config, outside, emit), kept)
        client = (await outside.stores()).client
        after = await locking.lock(config, specs, before, moves, client, state, emit, is_partial=is_partial)
        return await locking.with_tools(after, specs, kept, outside.image, emit)


async def check_lock(config: Config, nodes: Sequence[EnvironmentNode], emit: Emit = ignore) -> None:
    """Raise LockDriftError where the lock does not have all that these environments install."""
    async with _asking(config, emit) as (outside, _):
        await pinned(nodes, replace(config, locked=True), outside, emit, undecided)


async def _past(
    planned: Plan, observed: Mapping[str, Observation], known: Remembered, state: State
) -> tuple[dict[str, Observation], dict[str, Earlier], dict[str, bool]]:
    """What there is now of missing images under other names, and of those that their environments had before.

    Last come the references of those whose environments had none, as far as anybody knows who answered, and whether
    they had some for other platforms.
    """
    present = [image for image in planned.images if image.status == "present"]
    state.record_published((image.digest or "", image.reference) for image in present)
    history.remember(present, planned, state)
    earlier = history.recall(planned, state)
    questions = history.asked(planned, earlier)
    others = history.asked_of_others(planned, questions)
    digests = [image.digest for image in planned.images if image.status == "missing" and image.digest]
    digests += [item.image for item in earlier.values()]
    places = [reference for digest in digests for reference in state.references(digest, _ELSEWHERE)]
    places = [reference for reference in places if not (known.config.builder and is_in_engine(reference))]
    places += [reference for asked in (*questions.values(), *others.values()) for reference in asked]
    looking = known.observe_all(reference for reference in places if reference not in observed)
    try:
        found = await asyncio.wait_for(looking, _ELSEWHERE_SECONDS)
    except asyncio.TimeoutError:
        found = {}
    new = history.firsts(planned, questions, others, found, state)
    return found, earlier | history.answered(questions, found), new


async def observe(config: Config, reference: str, emit: Emit = ignore) -> Observation:
    """What there is under one reference. Raises UsageError for one that is malformed."""
    async with connected(config, emit) as (stores, _):
        return await stores.of(reference).observe(reference)


async def build(
    config: Config, planned: Plan, emit: Emit = ignore, *, fail_fast: bool = False, output: Output | None = None
) -> tuple[Outcome, ...]:
    """Build exactly what the plan says is missing; with `fail_fast` nothing more once an image has failed.

    With an `output` all images of the plan are written as files instead, and nothing is published.
    """
    if not output and not planned.to_build and not planned.to_copy:
        return ()
    # Loaded here: most commands find nothing to build, and need neither LLB nor gRPC.
    import secrets

    from flytebuild.build.images import build_images
    from flytebuild.build.recording import Recording

    recording = Recording(emit)
    async with connected(config, emit) as (stores, state):
        try:
            if output:
                from flytebuild.build.output import write_images

                return await write_images(planned, config, stores, state, output, recording, fail_fast=fail_fast)
            outcomes = await build_images(planned, config, stores, state, recording, fail_fast=fail_fast)
        finally:
            state.outdate_answers(repositories_of(item.reference for item in (*planned.to_build, *planned.to_copy)))
            if not recording.is_empty:
                document = json.dumps(recording.document())
                state.record_build(BuildRecord(secrets.token_hex(8), recording.started, document))
        answers = dict(published(config, item.image, item.manifest) for item in outcomes if item.manifest)
        state.record_answers({asked: text for asked, text in answers.items() if text})
        return outcomes


@contextmanager
def reader(config: Config, emit: Emit = ignore, outputs: Sequence[Path] = ()) -> Iterator[Reader]:
    """What reads images, remembering the digests of files that did not change since the last time."""
    digests = folders.digests_file()
    cache = StatCache.open(digests, emit=emit) if config.stat_cache else None
    try:
        yield Reader(cache, emit, outputs=(config.home, digests, folders.state_file(), *outputs))
    finally:
        if cache:
            cache.close()


@contextmanager
def recorded(config: Config) -> Iterator[Experience]:
    """What was seen of builds before, at the builders that are configured."""
    from flytebuild.buildkit.address import locate_all
    from flytebuild.measures import Measures

    with State.open(folders.state_file()) as state:
        # Inline, and in a folder, a cache serves one repository, or one machine.
        has_cache = config.cache not in ("off", "inline") and not (config.cache or "").startswith("local:")
        yield Measures(state, [address.shown for address in locate_all(config)], has_cache=has_cache)


def foresee(config: Config, planned: Plan) -> Forecast:
    """What building a plan will take, as far as builds before it tell."""
    # Loaded here: most plans find nothing to build.
    from flytebuild.plan.forecast import forecast

    with recorded(config) as experience:
        # Each builder of a fleet builds so many images at the same time.
        jobs = config.jobs * max(len(config.builder), 1)
        return forecast(planned, experience, jobs)


@asynccontextmanager
async def connected(config: Config, emit: Emit) -> AsyncIterator[tuple[Stores, State]]:
    """Where images are, for who looks there, or changes it, now. Raises as `_asking`."""
    async with _asking(config, emit) as (outside, state):
        yield await outside.stores(), state


@asynccontextmanager
async def _asking(config: Config, emit: Emit) -> AsyncIterator[tuple[Outside, State]]:
    """Who can say what is outside now. Raises UsageError where nobody may be asked."""
    if config.offline:
        raise UsageError(
            f"This needs a network, and `offline` is set (by `{config.sources.get('offline', 'the caller')}`)",
            hint="`flytebuild plan` goes without one",
        )
    async with Outside(config) as outside:
        with State.open(folders.state_file(), emit=emit) as state:
            yield outside, state


def repositories_of(references: Iterable[str]) -> tuple[str, ...]:
    """The repositories of references that have tags, each once."""
    return tuple(dict.fromkeys(reference.rpartition(":")[0] for reference in references))
