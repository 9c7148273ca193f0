"""The two sides of a comparison: an environment as its code is now, or an image that a store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild import pipeline
from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.loader import load
from flytebuild.config import Config
from flytebuild.errors import DefinitionError, RegistryUnavailableError, UsageError
from flytebuild.events import Emit
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.plan import ImagePlan, Observation, Plan
from flytebuild.spec.composition import Composition, composition
from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Listed, folder_of, listed_of, trees_of
from flytebuild.why import Change, Files, changes


class Side(Struct, frozen=True):
    """One image: its name as it was asked for, its digest, what it is made of, and what is known of that.

    `summaries`, `origins`, `listings` and `folders` are those of its layers, `places` those of its settings: all are
    known only of what comes from code.
    """

    name: str
    image: str
    composition: Composition
    base: str = ""
    summaries: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    trees: Mapping[str, Files] = field(default_factory=dict)
    listings: tuple[tuple[Listed, ...], ...] = ()
    folders: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)


def compare(before: Side, after: Side) -> tuple[Change, ...]:
    """What makes `after` another image than `before`."""
    return changes(
        before.composition,
        after.composition,
        base=after.base,
        summaries=after.summaries,
        origins=after.origins,
        trees={**before.trees, **after.trees},
        listings=after.listings,
        folders=after.folders,
        places=after.places,
    )


async def look(config: Config, paths: Sequence[Path], before: str, after: str | None, emit: Emit) -> tuple[Side, Side]:
    """Both sides of a comparison; without `after`, what the environment `before` had last, and what it has now.

    Without it an image of an environment's (`ENVIRONMENT@TAG`) is compared with what that environment has now.

    Raises UsageError for a name that leads nowhere, DefinitionError for an image that cannot be looked into,
    RegistryUnavailableError where a registry does not answer.
    """
    environment, at, _ = before.partition("@")
    if at and "/" not in environment:
        after = after or environment
    names = [before] if after is None else [before, after]
    needs_code = any("/" not in name.partition("@")[0] for name in names)
    source = _Source(config, _load(config, paths, emit) if needs_code else None, emit)
    if after is None:
        return await source.last_and_now(before)
    return await source.side(before), await source.side(after)


def _load(config: Config, paths: Sequence[Path], emit: Emit) -> Definitions:
    return load(paths, emit, stand_in=not config.strict_imports)


class _Source(Struct, frozen=True):
    config: Config
    definitions: Definitions | None
    emit: Emit
    _plans: dict[str, Plan] = field(default_factory=dict)

    async def side(self, name: str) -> Side:
        environment, at, tag = name.partition("@")
        if "/" in environment:
            return await self._stored(name, name)
        planned = await self._plan(environment)
        if not at:
            return _written(name, _image(planned, environment))
        repository = _image(planned, environment).reference.rpartition(":")[0]
        return await self._stored(name, f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag}")

    async def last_and_now(self, name: str) -> tuple[Side, Side]:
        if "/" in name:
            raise UsageError(
                f"There is nothing to compare `{name}` with",
                hint="name a second one: an environment, or another image",
            )
        planned = await self._plan(name)
        image = _image(planned, name)
        now = _written(name, image)
        if image.status == "present":
            return replace(now, name=_last(name)), now
        known = image.earlier
        if known is None:
            raise UsageError(
                f"No earlier image of `{name}` is known, on this machine or in its registry",
                hint="name the image to compare with: `flytebuild diff ENVIRONMENT@TAG ENVIRONMENT`",
            )
        return Side(_last(name), known.image, known.composition, trees=known.trees), now

    async def _plan(self, environment: str) -> Plan:
        assert self.definitions is not None  # noqa: S101 - loaded where a name needs it
        if environment not in self._plans:
            with pipeline.reader(self.config, self.emit) as read:
                node = self.definitions.alone(environment, read)
            self._plans[environment] = await pipeline.plan_nodes(self.config, [node], self.emit)
        return self._plans[environment]

    async def _stored(self, name: str, reference: str) -> Side:
        return _seen(name, reference, await pipeline.observe(self.config, reference))


def _last(environment: str) -> str:
    return f"{environment}, the last image"


def _image(planned: Plan, environment: str) -> ImagePlan:
    image = next((item for item in planned.images if item.spec), None)
    if image is None:
        raise DefinitionError(
            f"The image of `{environment}` is named, not defined: `{planned.images[0].reference}`",
            hint="what it is made of is known of images that flytebuild has built",
        )
    return image


def _written(name: str, image: ImagePlan) -> Side:
    assert image.spec is not None  # noqa: S101 - chosen by that
    found, steps = digests(image.spec), image.spec.steps
    return Side(
        name,
        found.image,
        composition(image.spec, found),
        image.spec.base.reference if image.spec.base else "",
        tuple(step.layer.summary for step in steps),
        tuple(step.origin for step in steps),
        {tree.digest: tree.files for step in steps for tree in trees_of(step.layer)},
        tuple(listed_of(step.layer) for step in steps),
        tuple(folder_of(step.layer) for step in steps),
        image.spec.places,
    )


def _seen(name: str, reference: str, observation: Observation) -> Side:
    match observation.fact:
        case Absent():
            raise UsageError(f"There is no image `{reference}`", hint="`flytebuild plan` shows where images are")
        case Unknown(reason=reason):
            raise RegistryUnavailableError(f"`{reference}` cannot be looked at: {reason}")
        case Present() if observation.composition is None:
            raise DefinitionError(
                f"`{reference}` does not say what it is made of",
                hint="only images that flytebuild has built do",
            )
    assert observation.composition is not None  # noqa: S101 - just looked at
    return Side(name, observation.image, observation.composition)
