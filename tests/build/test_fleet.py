"""A fleet builds where it can."""

import asyncio
from dataclasses import dataclass, field

from flytebuild.build.builder import Outcome
from flytebuild.build.fleet import Fleet, Member
from flytebuild.errors import StepFailure
from flytebuild.events import Emit, Event, ImageFinished, ImageStarted, Notice, ignore
from flytebuild.plan import ImagePlan
from tests.samples import AMD64, ARM64, made_of

FAILURE = StepFailure("run: false", "exit code 1", 1, (), ("env",))


def image(name: str) -> ImagePlan:
    return ImagePlan(name, "missing", "not there", (name,), spec=made_of())


@dataclass
class Host:
    """A builder; after `until` images it cannot be reached any more."""

    until: int = 1000
    built: list[str] = field(default_factory=list)
    failure: StepFailure | None = None

    async def build(self, image: ImagePlan, emit: Emit) -> Outcome:
        emit(ImageStarted(image.reference, image.environments, image.reference, ()))
        await asyncio.sleep(0)
        if len(self.built) >= self.until:
            emit(ImageFinished(image.reference, image.environments, image.reference, None, 1.0, "gone"))
            return Outcome(image, failure=FAILURE, is_unavailable=True)
        self.built.append(image.reference)
        emit(ImageFinished(image.reference, image.environments, image.reference, "sha256:1", 2.0))
        return Outcome(image, manifest="sha256:1", failure=self.failure)


def member(name: str, host: Host, platform: object = AMD64) -> Member:
    return Member(name, host, frozenset({platform}))  # type: ignore[arg-type]


def build(fleet: Fleet, *names: str) -> tuple[list[Outcome], list[Event]]:
    events: list[Event] = []

    async def work() -> list[Outcome]:
        return list(await asyncio.gather(*(fleet.build(image(name), events.append) for name in names)))

    return asyncio.run(work()), events


NAMES = [f"image{number}" for number in range(12)]


def test_images_are_spread_and_meet_where_they_share() -> None:
    one, other = Host(), Host()
    fleet = Fleet([member("one", one), member("other", other)], {name: name[:6] for name in NAMES})
    outcomes, _ = build(fleet, *NAMES)
    assert all(outcome.manifest for outcome in outcomes)
    assert sorted(one.built + other.built) == sorted(NAMES)
    assert abs(len(one.built) - len(other.built)) <= 4

    again_one, again_other = Host(), Host()
    again = Fleet([member("one", again_one), member("other", again_other)], fleet.affinities)
    build(again, *NAMES)
    assert (again_one.built, again_other.built) == (one.built, other.built)


def test_what_a_builder_had_that_goes_away_is_built_elsewhere_and_told_once() -> None:
    bad, good = Host(until=2), Host()
    outcomes, events = build(Fleet([member("bad", bad), member("good", good)], {}), *NAMES)
    assert all(outcome.manifest for outcome in outcomes)
    assert sorted(bad.built + good.built) == sorted(NAMES)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert notices == ["The builder `bad` has gone; its images are built elsewhere"]
    for kind in (ImageStarted, ImageFinished):
        assert sorted(event.image for event in events if isinstance(event, kind)) == sorted(NAMES)
    assert all(event.error is None for event in events if isinstance(event, ImageFinished))


def test_where_all_are_gone_the_failure_is_told() -> None:
    outcomes, events = build(Fleet([member("one", Host(0)), member("other", Host(0))], {}), "image")
    assert [outcome.is_unavailable for outcome in outcomes] == [True]
    (ended,) = [event for event in events if isinstance(event, ImageFinished)]
    assert ended.error == "gone"
    assert ended.seconds == 2.0


def test_a_step_that_fails_fails_everywhere_and_is_not_tried_again() -> None:
    hosts = [Host(failure=FAILURE), Host(failure=FAILURE)]
    outcomes, _ = build(Fleet([member(str(number), host) for number, host in enumerate(hosts)], {}), "image")
    assert outcomes[0].failure == FAILURE
    assert sum(len(host.built) for host in hosts) == 1


def test_a_builder_that_runs_the_platform_itself_comes_first() -> None:
    native, other = Host(), Host()
    fleet = Fleet([member("other", other, ARM64), member("native", native)], {})
    build(fleet, *NAMES)
    assert len(native.built) == len(NAMES)


def test_one_that_must_emulate_is_better_than_none() -> None:
    host = Host()
    asyncio.run(Fleet([member("only", host, ARM64)], {}).build(image("image"), ignore))
    assert host.built == ["image"]
