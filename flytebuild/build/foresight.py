"""What a build of a plan would be refused for, told when it is planned: nothing of it changes what an image is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flytebuild.config import Config
from flytebuild.plan import ENGINE_REGISTRY, Plan
from flytebuild.spec.layers import secrets_of


def obstacles(plan: Plan, config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each thing that is to be set before this plan can be built here."""
    if any(image.members and image.reference.startswith(f"{ENGINE_REGISTRY}/") for image in plan.to_build):
        yield "An image for several platforms cannot be built without a registry; set `registry`, or plan one platform"
    specs = [image.spec for image in plan.to_build if image.spec]
    if any(secrets_of(step.layer) for spec in specs for step in spec.steps):
        # Loaded here: what finds secrets knows how build steps get them, and takes longer to import than most plans.
        from flytebuild.build.secrets import missing_secrets

        yield from missing_secrets(specs, environ, config.secrets)
