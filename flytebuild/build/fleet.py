"""Several builders as one: each image goes to the one it prefers, and to another when that one goes away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from flytebuild.build.builder import Builder, Outcome
from flytebuild.build.once import Once
from flytebuild.build.placement import choose, preference
from flytebuild.events import Emit, Notice
from flytebuild.plan import ImagePlan
from flytebuild.spec.images import Platform


class Member(Struct, frozen=True):
    """One builder of a fleet: what it is called, and the platforms that it runs without emulation."""

    name: str
    builder: Builder
    platforms: frozenset[Platform]


@dataclass
class Fleet:
    """Distributes images over its members; `affinities` says which images should meet, by reference.

    A member that cannot be reached any more gets no further image, and those that it had are built elsewhere.
    """

    members: Sequence[Member]
    affinities: Mapping[str, str]
    _load: Counter[str] = field(default_factory=Counter)
    _gone: set[str] = field(default_factory=set)

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        once = Once(emit)
        while True:
            member = self._choose(image)
            self._load[member.name] += 1
            try:
                outcome = await member.builder.build(image, once)
            finally:
                self._load[member.name] -= 1
            if not outcome.is_unavailable or not self._is_replaced(member, emit):
                once.end()
                return outcome

    def _choose(self, image: ImagePlan) -> Member:
        """A member that runs the image's platform itself comes before one that has to emulate it."""
        alive = {member.name: member for member in self.members if member.name not in self._gone}
        wanted = frozenset(image.platforms)
        native = [name for name, member in alive.items() if wanted <= member.platforms]
        affinity = self.affinities.get(image.reference, image.reference)
        return alive[choose(preference(affinity, native or alive), self._load)]

    def _is_replaced(self, member: Member, emit: Emit) -> bool:
        """Give a member up; whether there is another one."""
        is_new = member.name not in self._gone
        others = len(self.members) - len(self._gone | {member.name})
        if not others:
            return False
        self._gone.add(member.name)
        if is_new:
            emit(Notice(f"The builder `{member.name}` has gone; its images are built elsewhere"))
        return True
