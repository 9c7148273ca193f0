"""A plan kept in a file: the questions it was the answer to, and what has drifted since. Pure.

Who builds it asks the same questions again. The answers must be the ones that were kept: a saved plan is a promise
about what a build does, and not a way around looking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

from msgspec import Struct

from flytebuild.errors import DriftError, UsageError
from flytebuild.plan import ImagePlan, Plan
from flytebuild.plan.document import to_document
from flytebuild.plan.forecast import Forecast
from flytebuild.spec.canonical import digest
from flytebuild.spec.words import as_mapping, differing, happened

SCHEMA = "flytebuild.saved-plan/1"

_Images: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Images' parts of a plan's document, by their references."""


class SavedPlan(Struct, frozen=True):
    """What was asked, and what the answer was.

    `paths` and `lock` are relative to the file's folder, in posix form; `lock` is None where there was none.
    `registry`, `platforms` and `wheel_layers` are the settings that decide what the plan names. `environments` has each
    one's image, `images` their parts of the plan's document (`flytebuild.plan/1`), both by name.
    """

    paths: tuple[str, ...]
    targets: tuple[str, ...]
    registry: str | None
    platforms: tuple[str, ...]
    wheel_layers: str | None
    lock: str | None
    environments: Mapping[str, str]
    images: Mapping[str, Mapping[str, Any]]
    configs: Mapping[str, Mapping[str, str]]


def save(
    plan: Plan,
    paths: Sequence[str],
    targets: Sequence[str],
    registry: str | None,
    platforms: Sequence[str],
    wheel_layers: str,
    lock: str | None,
    forecast: Forecast | None = None,
) -> dict[str, Any]:
    """The document that is kept, with what building it was expected to take where that is given."""
    asked = {"paths": list(paths), "targets": list(targets)}
    settings = {"registry": registry, "platforms": list(platforms), "wheel_layers": wheel_layers, "lock": lock}
    configs = {image.reference: _config(image) for image in plan.images if image.spec}
    return {"schema": SCHEMA, **asked, **settings, "configs": configs, "plan": to_document(plan, forecast)}


def _config(image: ImagePlan) -> dict[str, str]:
    """An image's settings by their names, each as a digest: it tells whether that is another one, and no more."""
    document = image.spec.config.document() if image.spec else {}
    variables = {f"env.{name}": value for name, value in as_mapping(document.get("env")).items()}
    others = {name: value for name, value in document.items() if name not in ("env", "schema")}
    return {name: digest("config", {name: value}) for name, value in sorted({**variables, **others}.items())}


def restore(document: object, source: str) -> SavedPlan:
    """The inverse of `save`. Raises UsageError for a document that is no saved plan; `source` names it."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(
            f"`{source}` is not a saved plan of this version",
            hint="`flytebuild plan -o FILE` writes one; code is given as a `.py` file or a folder",
        )
    try:
        return SavedPlan(
            paths=tuple(document["paths"]),
            targets=tuple(document["targets"]),
            registry=document["registry"],
            platforms=tuple(document["platforms"]),
            wheel_layers=document.get("wheel_layers"),
            lock=document.get("lock"),
            environments={item["name"]: item["image"] for item in document["plan"]["environments"]},
            images={image["reference"]: image for image in document["plan"]["images"]},
            configs={name: dict(found) for name, found in dict(document.get("configs", {})).items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"`{source}` is damaged", hint="write it again with `flytebuild plan -o FILE`") from error


def refuse_drift(saved: SavedPlan, planned: Plan, source: str) -> None:
    """Raise DriftError, with a line for everything that is not as it was planned.

    An image that was to be built and is there by now is no drift: its digest says that it is the one.
    """
    found = tuple(drift(saved, planned))
    if found:
        raise DriftError(source, found)


def drift(saved: SavedPlan, planned: Plan) -> Iterator[str]:
    """One line per difference, in the plan's order."""
    before, now = saved.environments, {item.name: item.image for item in planned.environments}
    images = {image["reference"]: image for image in to_document(planned)["images"]}
    configs = {image.reference: _config(image) for image in planned.images}
    for name in before:
        if name not in now:
            yield f"environment `{name}` is not needed any more"
    for name, reference in now.items():
        if name not in before:
            yield f"environment `{name}` is needed now"
        elif before[name] != reference:
            planned_as, is_now = _differing(name, saved.images, before[name], images, reference)
            old, new = saved.configs.get(planned_as), configs[is_now]
            settings = _settings(old, new) if old is not None else ""
            change = _difference(saved.images[planned_as], images[is_now], settings)
            yield f"the image of `{name}` is another one: {change}"
    for reference, image in images.items():
        known = saved.images.get(reference)
        if known and known["status"] == "present" and image["status"] != "present":
            names = ", ".join(f"`{name}`" for name in image["environments"])
            yield f"the image of {names} was there: {image['reason']}"


def _differing(environment: str, before: _Images, planned_as: str, now: _Images, reference: str) -> tuple[str, str]:
    """An image as it was planned and as it is now; of one for several platforms, the first that is another one."""

    def alone(images: _Images, platform: str) -> str:
        found = (name for name, image in images.items() if environment in image["environments"])
        return next((name for name in found if images[name]["platforms"] == [platform]), "")

    pairs = ((alone(before, platform), alone(now, platform)) for platform in now[reference]["platforms"])
    return next(((old, new) for old, new in pairs if old and new and old != new), (planned_as, reference))


def _settings(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In which settings two images differ; nothing where in none."""
    told = [(name, happened(before, now, name)) for name in differing(before, now)]
    variables = [f"variable `{name.removeprefix('env.')}` {what}" for name, what in told if name.startswith("env.")]
    return ", ".join((*variables, *(f"`{name}` {what}" for name, what in told if not name.startswith("env."))))


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], settings: str) -> str:
    """The first thing in which two images' documents differ, from the base up.

    Of a layer that is the same but for the `settings` that its process sees, these are told.
    """
    if before["digest"] == now["digest"]:
        return f"published as {now['reference']}, planned as {before['reference']}"
    old_platforms, platforms = (", ".join(item["platforms"]) for item in (before, now))
    if old_platforms and platforms and old_platforms != platforms:
        return f"for {platforms}, planned for {old_platforms}"
    for old, new in zip_longest(before["layers"], now["layers"]):
        if old is None:
            return f"`{new['summary']}` was added"
        if new is None:
            return f"`{old['summary']}` is not in it any more"
        if old["digest"] != new["digest"]:
            if old["summary"] == new["summary"]:
                return settings or f"`{new['summary']}` is not the same any more"
            return f"`{old['summary']}` became `{new['summary']}`"
    return settings or "it has other settings"
