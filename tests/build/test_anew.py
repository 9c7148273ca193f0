"""A step of the builder's own cache that it cannot use is executed once more, and all others with it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flytebuild.build.anew import executed_anew
from flytebuild.build.builder import BuildKitBuilder
from flytebuild.build.cache.choice import NoCache
from flytebuild.build.registry_store import RegistryStore
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.solve import MANIFEST_DIGEST, SolveError
from flytebuild.events import Event, Notice
from flytebuild.plan import ImagePlan
from tests.samples import made_of

TORN = Failure("failed to commit a to b during finalize: snapshot a does not exist: not found", is_torn_cache=True)


@dataclass
class Torn:
    """Solves that come upon a torn result, as long as they look for any."""

    asked: list[bool] = field(default_factory=list)

    async def solve(self, work: Any, *_: object, **__: object) -> Mapping[str, str]:
        is_anew = all(item.ignore_cache for item in work.metadata.values())
        self.asked.append(is_anew)
        if not is_anew:
            raise SolveError(TORN)
        return {MANIFEST_DIGEST: "sha256:1"}


class Place:
    """Takes every image."""

    is_public = False

    def of(self, _reference: str) -> "Place":
        return self

    def export(self, reference: str, image_config: str | None) -> Export:
        return RegistryStore.export(RegistryStore(None), reference, image_config)  # type: ignore[arg-type]

    async def publish(self, _image: ImagePlan, manifest: str) -> str:
        return manifest


def test_a_torn_result_is_made_anew_and_that_is_told() -> None:
    solver, events = Torn(), list[Event]()
    builder = BuildKitBuilder(solver, Place(), NoCache(), has_bundle=False)  # type: ignore[arg-type]
    image = ImagePlan("r.example/a:1", "missing", "not there", ("env",), spec=made_of())
    outcome = asyncio.run(builder.build(image, events.append))
    assert outcome.manifest == "sha256:1"
    assert solver.asked == [False, True]
    assert [event.message for event in events if isinstance(event, Notice)] == [
        "the image of env is built anew: a build that was broken off has left a step half kept"
    ]


def test_a_frontend_is_told_so_too() -> None:
    anew = executed_anew(Frontend("dockerfile.v0", {"platform": "linux/amd64"}, {"context": ops_pb2.Definition()}))
    assert isinstance(anew, Frontend)
    assert anew.attrs == {"platform": "linux/amd64", "no-cache": ""}
