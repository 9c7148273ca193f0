"""Writing what a build made to a cache: its images once more, as few solves, which find everything done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from flytebuild.build.cache.keys import BuiltImage, CacheKey
from flytebuild.build.dockerfile import lower_dockerfile
from flytebuild.build.solves import Solves
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.solve import CACHE_MANIFEST, Cache
from flytebuild.events import Emit, Event, StepFinished, StepStarted
from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import marshal
from flytebuild.llb.merge import merge

_EXPORTING = "exporting cache"
"""How BuildKit calls the one step of an export that is news; the others were told when the images were built."""


async def export(
    work: ops_pb2.Definition | Frontend,
    name: str,
    cache: Cache,
    imports: Sequence[Cache],
    solver: Solves,
    emit: Emit,
) -> str:
    """Solve it once more for the cache alone; returns the digest of the manifest that it wrote. Raises SolveError.

    `name` is what events call it.
    """

    def tell(event: Event) -> None:
        if isinstance(event, (StepStarted, StepFinished)) and event.name.startswith(_EXPORTING):
            emit(event)

    answer = await solver.solve(work, None, Progress(name, tell), "cache", imports=imports, exports=(cache,))
    return str(json.loads(answer[CACHE_MANIFEST])["digest"])


def works(
    new: Mapping[BuiltImage, CacheKey], *, has_bundle: bool
) -> list[tuple[ops_pb2.Definition | Frontend, list[CacheKey]]]:
    """What is solved once more: all graphs as one, and each Dockerfile, whose graph only its frontend knows."""
    graphs = [image for image in new if image.spec.base]
    works: list[tuple[ops_pb2.Definition | Frontend, list[CacheKey]]] = []
    if graphs:
        states = list(dict.fromkeys(lower(image.spec, has_bundle=has_bundle) for image in graphs))
        together = merge(states, name="all images") if len(states) > 1 else states[0]
        works.append((marshal(together), [new[image] for image in graphs]))
    return works + [(lower_dockerfile(image.spec, {}), [key]) for image, key in new.items() if not image.spec.base]
