"""Deciding the wheels of all installing layers of some images: one after another as they stack, each question once.

A layer's answer is what `uv pip install`, or a project's `uv sync`, would do on top of what lies below it: packages
that are there already and fit are left alone. What an earlier lock says stays unless it has to move, or is meant to.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct, field

from flytebuild.errors import DefinitionError, UnavailableError
from flytebuild.events import Emit, Notice
from flytebuild.spec.layers import Pin, UvProject, Venv, secrets_of
from flytebuild.spec.model import ImageSpec
from flytebuild.threads import in_thread
from flytebuild.wheels.arguments import NotLockableError, with_words
from flytebuild.wheels.base import Base
from flytebuild.wheels.deciding import Asker, Decided, decide
from flytebuild.wheels.environment import Environment, Installed, with_installed
from flytebuild.wheels.lock import Lock, LockedLayer, Specs, UnlockedLayer, order
from flytebuild.wheels.metadata import MetadataReader
from flytebuild.wheels.offers import offers
from flytebuild.wheels.questions import Question, questions
from flytebuild.wheels.uv import Asking, Found, Target, Uv

_AT_ONCE = 4
_PATIENCE = 10.0
"""Seconds after which it is told that uv still resolves."""

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_OLD_GLIBC = (2, 28)
"""What wheels are chosen for where a base does not say which C library it has: that of most wheels."""


class Moves(Struct, frozen=True):
    """What may change that an earlier lock has decided: `names` of packages and images, or everything."""

    names: frozenset[str] = frozenset()
    everything: bool = False

    def __contains__(self, name: str) -> bool:
        return self.everything or name in self.names


NOTHING = Moves()
"""What may move where nothing is meant to."""


class Answer(Struct, frozen=True):
    """One layer's wheels, or the reason why they are not decided here; `is_moved` where the earlier lock has others.

    `where`, `python`, `replaces` and `obstacle` are as in `LockedLayer`.
    """

    pins: tuple[Pin, ...] = ()
    where: tuple[str, ...] = ()
    python: str = ""
    replaces: tuple[str, ...] = ()
    obstacle: str = ""
    reason: str = ""
    is_moved: bool = False


class Resolver(Struct):
    """Answers the questions of images.

    `base` reads what an image's base has, `secrets` gives the variables of a layer's secrets, and `hide` takes those
    out of messages.
    """

    uv: Uv
    metadata: MetadataReader
    base: Callable[[ImageSpec], Awaitable[Base]]
    secrets: Callable[[ImageSpec, Question], Mapping[str, str]]
    hide: Callable[[str], str]
    before: Lock
    moves: Moves
    emit: Emit
    _users: dict[str, set[str]] = field(default_factory=dict)
    _answers: dict[str, asyncio.Task[Answer]] = field(default_factory=dict)
    _environments: dict[str, asyncio.Task[Environment]] = field(default_factory=dict)
    _bases: dict[str, asyncio.Task[Base]] = field(default_factory=dict)
    _found: dict[str, Found] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def layers(self, specs: Specs) -> tuple[tuple[LockedLayer, ...], tuple[UnlockedLayer, ...]]:
        """The answers for all layers of these images, each with the environments that have it.

        Raises DefinitionError for requirements that cannot be met, UnavailableError where an index does not answer,
        RegistryUnavailableError where a base cannot be read.
        """
        asked: dict[str, tuple[ImageSpec, Question]] = {}
        for name, variants in specs.items():
            for spec in variants.values():
                for question in questions(spec):
                    self._users.setdefault(question.fingerprint, set()).add(name)
                    asked.setdefault(question.fingerprint, (spec, question))
        answers = await asyncio.gather(*(self._answer(spec, question) for spec, question in asked.values()))
        locked, unlocked = list[LockedLayer](), list[UnlockedLayer]()
        for (spec, question), answer in zip(asked.values(), answers, strict=True):
            names = tuple(sorted(self._users[question.fingerprint]))
            head = (question.layer.summary, str(spec.platform), question.fingerprint, names)
            if answer.reason:
                unlocked.append(UnlockedLayer(*head, answer.reason))
            else:
                told = (answer.python, answer.replaces, answer.obstacle)
                locked.append(LockedLayer(*head, answer.pins, answer.where, *told))
        return tuple(sorted(locked, key=order)), tuple(sorted(unlocked, key=order))

    def _answer(self, spec: ImageSpec, question: Question) -> asyncio.Task[Answer]:
        if question.fingerprint not in self._answers:
            self._answers[question.fingerprint] = asyncio.ensure_future(self._decide(spec, question))
        return self._answers[question.fingerprint]

    async def _decide(self, spec: ImageSpec, question: Question) -> Answer:
        if question.reason:
            return Answer(reason=question.reason)
        below = _below(spec, question)
        under = await self._answer(spec, below) if below else Answer()
        if below and under.reason:
            return Answer(reason=f"`{below.layer.summary}` below it is not locked")
        known = self.before.by_fingerprint.get(question.fingerprint)
        if known and not under.is_moved and not any(pin.name in self.moves for pin in known.pins):
            return Answer(known.pins, known.where, known.python, known.replaces, known.obstacle)
        try:
            answer = await self._resolve(spec, question, known)
        except NotLockableError as error:
            return Answer(reason=str(error))
        except (DefinitionError, UnavailableError) as error:
            if type(error) not in (DefinitionError, UnavailableError):
                raise
            # What is missing of a layer says itself which one it is.
            is_named = error.message.startswith(f"`{question.layer.summary}`")
            message = error.message if is_named else f"{question.shown} cannot be locked: {error.message}"
            raise type(error)(message, hint=error.hint, details=error.details) from error
        self.emit(Notice(f"{question.shown}: {_counted(answer.pins)}"))
        return answer

    async def _resolve(self, spec: ImageSpec, question: Question, known: LockedLayer | None) -> Answer:
        target = await self._target(spec)
        below = await self._environment(spec, _below(spec, question))
        preferences = {} if self.moves.everything else self._preferences(spec, question)
        variables = {**question.variables, **self.secrets(spec, question)}
        async with self._slots:
            with tempfile.TemporaryDirectory(prefix="flytebuild-") as folder:
                asker = Asker(self.uv, Path(folder), variables, self.hide)
                with _told_after(_PATIENCE, self.emit, f"{question.shown}: still waiting for uv, which asks the index"):
                    decided = await in_thread(
                        lambda: decide(asker, spec, question, target, below, preferences), "flytebuild-uv"
                    )
        self._found[question.fingerprint] = decided.found
        python = ".".join(target.python.split(".")[:2])
        replaces = tuple(pin.name for pin in decided.found.pins if pin.name in below)
        is_project = isinstance(question.layer, UvProject)
        pins, obstacle = await self._offered(spec, question, decided, () if is_project else replaces)
        if obstacle and is_project:
            # The step that `uv sync` is comes to the same, and knows the settings of the project.
            raise NotLockableError(obstacle)
        is_moved = known is None or known.pins != pins
        return Answer(pins, decided.where, python, replaces, obstacle, is_moved=is_moved)

    async def _offered(
        self, spec: ImageSpec, question: Question, decided: Decided, replaces: Collection[str]
    ) -> tuple[tuple[Pin, ...], str]:
        """The wheels with their sizes, and what keeps them from becoming layers: of the base, or of an index.

        That cannot be seen from the lock, so it is written into it: one lock comes to the same images wherever they are
        built, whatever credentials there are.
        """
        odd = (await self._base(spec)).odd
        openly = not odd and not secrets_of(question.layer)
        found, indexes, trusted = decided.found, self.uv.indexes(decided.asking), self.metadata.ca_bundle
        offered = await in_thread(
            lambda: offers(found.pins, indexes, found.signed, trusted, openly=openly), "flytebuild-wheels"
        )
        pins = tuple(offer.pin for offer in offered)
        if odd:
            return pins, f"`{odd[0]}` of its base is not a folder of root's as others are"
        closed = (offer.pin for offer in offered if not offer.is_open and offer.pin.name not in replaces)
        name = next((urlsplit(pin.url).hostname for pin in closed), None)
        return pins, f"`{name}` wants credentials" if name else ""

    def _preferences(self, spec: ImageSpec, question: Question) -> dict[str, str]:
        """The versions that the earlier lock has for the same environments, but for those that are to move."""
        names = self._users[question.fingerprint]
        layers = (layer for layer in self.before.layers if layer.platform == str(spec.platform))
        pins = (pin for layer in layers if names.intersection(layer.environments) for pin in layer.pins)
        return {pin.name: pin.version for pin in pins if pin.name not in self.moves}

    async def _environment(self, spec: ImageSpec, question: Question | None) -> Environment:
        """What is installed once a layer is there; the base's packages below the first one."""
        if question is None:
            return with_installed({}, (await self._base(spec)).installed)
        if question.fingerprint not in self._environments:
            self._environments[question.fingerprint] = asyncio.ensure_future(self._with(spec, question))
        return await self._environments[question.fingerprint]

    async def _with(self, spec: ImageSpec, question: Question) -> Environment:
        answer = await self._answer(spec, question)
        below = await self._environment(spec, _below(spec, question))
        variables = {**question.variables, **self.secrets(spec, question)}
        arguments = with_words(question.arguments, list(answer.where))
        asking, target = Asking((), arguments, variables, hide=self.hide), await self._target(spec)
        signed = self._found.get(question.fingerprint, Found()).signed
        texts = await in_thread(lambda: self._metadata(answer.pins, signed, asking, target), "flytebuild-metadata")
        return with_installed(below, (Installed.of(pin, texts[pin.name]) for pin in answer.pins))

    def _metadata(
        self, pins: Sequence[Pin], signed: Mapping[str, str], asking: Asking, target: Target
    ) -> dict[str, str]:
        indexes = self.uv.indexes(asking)
        try:
            return self.metadata.read(pins, indexes, signed)
        except UnavailableError:
            # Where a wheel was found when it was locked is not where it is for ever.
            with suppress(NotLockableError, DefinitionError):
                found = self.uv.files({pin.name: pin.version for pin in pins}, asking, target)
                if [pin.sha256 for pin in found.pins] == [pin.sha256 for pin in pins]:
                    return self.metadata.read(found.pins, indexes, found.signed)
            raise

    async def _base(self, spec: ImageSpec) -> Base:
        key = f"{spec.base.digest if spec.base else ''} {spec.platform}"
        if key not in self._bases:
            self._bases[key] = asyncio.ensure_future(self.base(spec))
        return await self._bases[key]

    async def _target(self, spec: ImageSpec) -> Target:
        base = await self._base(spec)
        if base.is_musl:
            raise NotLockableError("its base has a C library that few wheels are for")
        if base.unseen:
            raise NotLockableError(f"what `{base.unseen[0]}` of its base is cannot be seen without running it")
        asked = next((step.layer.python for step in spec.steps if isinstance(step.layer, Venv)), "")
        fitting = [item for item in base.pythons if item == asked or item.startswith(f"{asked}.")]
        # Where there is no such Python in the base, uv brings its latest one.
        python = base.python or (fitting[0] if len(fitting) == 1 else asked)
        return Target(python, _MACHINES[spec.platform.architecture], base.glibc or _OLD_GLIBC)


@contextmanager
def _told_after(seconds: float, emit: Emit, words: str) -> Iterator[None]:
    """Tell what is waited for, once, where it takes longer than that."""
    telling = asyncio.get_running_loop().call_later(seconds, emit, Notice(words))
    try:
        yield
    finally:
        telling.cancel()


def _counted(pins: Sequence[Pin]) -> str:
    if not pins:
        return "nothing that is not there"
    unknown = sum(pin.size is None for pin in pins)
    return f"{len(pins)} wheel{'s' * (len(pins) != 1)}" + (f", {unknown} of unknown size" if unknown else "")


def _below(spec: ImageSpec, question: Question) -> Question | None:
    """The installing layer under another one."""
    return next((item for item in questions(spec) if question.below and item.fingerprint == question.below[-1]), None)
