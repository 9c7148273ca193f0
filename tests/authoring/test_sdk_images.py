"""What the SDK is told of images that are there."""

from __future__ import annotations

import asyncio

import flyte
import pytest
from flyte import _deploy

from flytebuild.authoring import sdk

IMAGE = flyte.Image.from_base("r.example/base:1").clone(name="x", extendable=True)


def test_the_sdk_uses_what_it_is_told_and_builds_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def build(name: str, image: flyte.Image) -> tuple[str, str, None]:
        return name, f"built {image.base_image}", None

    monkeypatch.setattr(_deploy, "_build_image_bg", build)

    async def answer(image: flyte.Image) -> str | None:
        return "r.example/x:there" if image is known else None

    known, equal = IMAGE.with_env_vars({"A": "1"}), IMAGE.with_env_vars({"A": "1"})
    sdk.ask_for_images(answer)
    plan = _deploy.DeploymentPlan(
        {name: flyte.TaskEnvironment(name, image=image) for name, image in (("a-b", known), ("c-d", equal))}
    )
    monkeypatch.setattr(_deploy, "get_init_config", lambda: type("Config", (), {"root_dir": "."}))
    found = asyncio.run(_deploy._build_images(plan)).image_lookup
    assert found == {"a-b": "r.example/x:there", "c-d": "built r.example/base:1"}
