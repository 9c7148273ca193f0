"""Writing what a build made to a cache: what is new in its images once more, as few solves, which find it done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set

from msgspec import Struct

from flytebuild.build.cache.keys import BuiltImage, CacheKey, keys_of, keys_of_state, parts_of
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
from flytebuild.llb.state import State

EXPORTING = "exporting cache"
"""How BuildKit calls the one step of an export that is news; the others were told when the images were built."""


class Work(Struct, frozen=True):
    """What is solved once more, the results that are in it, and the images that they are of."""

    work: ops_pb2.Definition | Frontend
    keys: tuple[CacheKey, ...]
    images: tuple[BuiltImage, ...]


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
        if isinstance(event, (StepStarted, StepFinished)) and event.name.startswith(EXPORTING):
            emit(event)

    answer = await solver.solve(work, None, Progress(name, tell), "cache", imports=imports, exports=(cache,))
    return str(json.loads(answer[CACHE_MANIFEST])["digest"])


def works(built: Iterable[BuiltImage], known: Set[str], *, has_bundle: bool) -> list[Work]:
    """What of the images is in no manifest yet, whose tags are `known`: of all graphs the new parts as one, and each
    Dockerfile, whose graph only its frontend knows."""
    parts: dict[State, CacheKey] = {}
    graphs, files = [], []
    for image in built:
        if not image.spec.base:
            files.append(Work(lower_dockerfile(image.spec, {}), keys_of(image.spec, has_bundle=has_bundle), (image,)))
        elif new := _new_parts(image, known, has_bundle=has_bundle):
            parts |= new
            graphs.append(image)
    found = [work for work in files if work.keys[0].tag not in known]
    if graphs:
        together = merge(tuple(parts), name="all that is new") if len(parts) > 1 else next(iter(parts))
        found.insert(0, Work(marshal(together), tuple(parts.values()), tuple(graphs)))
    return found


def _new_parts(image: BuiltImage, known: Set[str], *, has_bundle: bool) -> dict[State, CacheKey]:
    parts = parts_of(lower(image.spec, has_bundle=has_bundle))
    keys = {part: keys_of_state(part)[0] for part in parts}
    return {part: key for part, key in keys.items() if key.tag not in known}
