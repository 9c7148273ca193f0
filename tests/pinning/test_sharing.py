"""What a plan looks up before packages become wheel layers."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from flytebuild.pinning.sharing import shared
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import Pin, Pinned
from flytebuild.spec.model import ImageSpec
from flytebuild.wheels.recipe import tool_of
from tests.samples import AMD64, ARM64, UV, made_of, pip

PINNED = Pinned((Pin("six", "1", "six-1-py3-none-any.whl", "1" * 64, "https://i.example:8443/six.whl"),), python="3.11")


def recipe(spec: ImageSpec) -> tuple[str, str]:
    (layer,) = [step.layer for step in spec.steps if isinstance(step.layer, Pinned)]
    return layer.recipe, layer.reason


def test_every_tool_is_looked_up_once_for_each_platform() -> None:
    asked: list[tuple[str, Platform]] = []

    async def resolve(name: str, platform: Platform) -> ResolvedImage:
        asked.append((name, platform))
        return replace(UV, reference=name)

    one = {platform: made_of(PINNED, platform=platform) for platform in (AMD64, ARM64)}
    newer = {AMD64: made_of(replace(PINNED, python="3.13"))}
    found = asyncio.run(shared({"one": one, "two": one, "newer": newer, "none": {AMD64: made_of(pip("a"))}}, resolve))
    assert sorted(asked, key=str) == [
        (tool_of("3.11"), AMD64),
        (tool_of("3.11"), ARM64),
        (tool_of("3.13"), AMD64),
    ]
    assert {recipe(spec) for name in ("one", "two", "newer") for spec in found[name].values()} == {("layers", "")}
    assert found["none"] == {AMD64: made_of(pip("a"))}
