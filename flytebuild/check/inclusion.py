"""Rule `missing-package`: what the modules of an environment's tasks import must be in the environment's image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from flytebuild.check import distributions
from flytebuild.check.calls import Reading
from flytebuild.check.finding import Finding
from flytebuild.check.imports import Import, Modules
from flytebuild.check.packages import Contents, Read, contents
from flytebuild.check.source import Sources
from flytebuild.check.subject import Subject
from flytebuild.spec.layers import Pinned, PoetryProject, UvProject, Wheels
from flytebuild.spec.model import Definition, ExternalImage, ImageDefinition
from flytebuild.spec.requirement import normal_name

RULE = "missing-package"


class Installed(Struct, frozen=True, dict=True):
    """What an image has: by its definition, and by what that needs. Nothing is looked at before it is asked for."""

    image: Definition
    read: Read

    @cached_property
    def contents(self) -> Contents:
        """What the definition itself names."""
        return contents(self.image, self.read)

    @cached_property
    def _closure(self) -> tuple[frozenset[str], frozenset[str]]:
        return distributions.closure(self.contents.requirements)

    @property
    def is_lockable(self) -> bool:
        """Whether nothing of it would be unknown if it were in a lock of ours."""
        if self.contents.unknown or not isinstance(self.image, ImageDefinition):
            return False
        parts = [placed.part for placed in self.image.parts]
        return not any(isinstance(part, UvProject | PoetryProject | Wheels | Pinned) for part in parts)

    @cached_property
    def _strange(self) -> list[str]:
        """What is there of which nobody here knows which modules it brings."""
        mine = self.contents
        return sorted(name for name in mine.complete if name not in mine.brings and not distributions.is_here(name))

    def doubts(self, module: str) -> tuple[str, ...]:
        """Why a module that is not seen may be there all the same."""
        unknown = sorted(self._closure[1] - self.contents.complete)
        needs = f"what {_named(unknown)} {_verb(unknown, 'need')} is not known here" if unknown else ""
        # Of what this machine has it is known which modules it brings: all others may bring one that is here from none.
        strange = [] if distributions.providers(module) else self._strange
        brings = f"which modules {_named(strange)} {_verb(strange, 'bring')} is not known here" if strange else ""
        return (*self.contents.unknown, *filter(None, (needs, brings)))

    def has(self, module: str) -> bool:
        """Whether a module is there. What the definition names itself is found without a look at any metadata."""
        top = module.partition(".")[0]
        named = normal_name(top)
        mine = self.contents
        if top in mine.modules or self._owner(module) or named in self._vague(mine.requirements):
            return True
        wanted = {distributions.stem(name) for name in distributions.providers(module)} or {named}
        return not wanted.isdisjoint(map(distributions.stem, self._vague(self._closure[0])))

    def distribution(self, module: str) -> str:
        """The distribution that brings a module, by its name; nothing where it is not known to be there."""
        names = distributions.providers(module) or {normal_name(module.partition(".")[0])}
        return self._owner(module) or next((name for name in sorted(names) if name in self.contents.written), "")

    def requirement(self, module: str) -> str:
        """How the definition asks for what brings a module; nothing where it only comes along."""
        return self.contents.written.get(self.distribution(module), "")

    def _vague(self, names: Collection[str]) -> set[str]:
        """Those of some distributions, and of a lock's, whose modules no lock tells."""
        return {*names, *self.contents.complete} - self.contents.brings.keys()

    def _owner(self, module: str) -> str:
        """The distribution whose modules a lock tells, this one among them; a namespace is of all that are in it."""
        for name, modules in self.contents.brings.items():
            if any(
                module == item or module.startswith(f"{item}.") or item.startswith(f"{module}.") for item in modules
            ):
                return name
        return ""


def examine(
    subjects: Sequence[Subject],
    installed: Mapping[str, Installed],
    readings: Mapping[str, Sequence[tuple[str, Reading]]],
    starts: Mapping[str, Sequence[str]],
    sources: Sources,
) -> Iterator[Finding]:
    """A finding for each package that an image lacks, at the first import of it; one for all that may be there.

    `starts` has the files of each environment's tasks, `readings` what these do.
    """
    for subject in subjects:
        mine = installed[subject.name]
        told: set[str] = set()
        doubtful: dict[Import, tuple[str, ...]] = {}
        for item in _imports(subject, starts.get(subject.name, ()), readings.get(subject.name, ()), sources):
            if item.top in told or mine.has(item.module):
                continue
            told.add(item.top)
            owners, package = whose(subject.name, item.module, installed)
            if doubts := mine.doubts(item.module):
                doubtful[item] = doubts
            else:
                yield _missing(subject, item, owners, package)
        if doubtful:
            yield _doubtful(subject, doubtful, is_lockable=mine.is_lockable)


def _imports(
    subject: Subject, starts: Sequence[str], readings: Sequence[tuple[str, Reading]], sources: Sources
) -> Iterator[Import]:
    modules = Modules(subject.roots, sources)
    yield from modules.closure(starts)
    for _, reading in readings:
        for lazy in reading.imports:
            for name, files in modules.of(lazy.node, lazy.package):
                if not files:
                    yield Import(name, lazy.file, lazy.node.lineno, is_lazy=True)


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (" and others" if len(names) > 3 else "")


def _verb(names: Sequence[str], plural: str) -> str:
    return f"{plural}s" if len(names) == 1 else plural


def whose(name: str, module: str, installed: Mapping[str, Installed]) -> tuple[list[str], str]:
    """The other environments whose images have a module, and the requirement that brings it, as one of them has it."""
    owners = [other for other, image in installed.items() if other != name and image.has(module)]
    written = next(filter(None, (installed[other].requirement(module) for other in owners)), "")
    named = next(filter(None, (installed[other].distribution(module) for other in owners)), "")
    known = named or next(iter(sorted(distributions.providers(module))), module.partition(".")[0])
    return owners, written or known


def _missing(subject: Subject, item: Import, owners: Sequence[str], package: str) -> Finding:
    elsewhere = f"; {listed(owners)} {'has' if len(owners) == 1 else 'have'} it" if owners else ""
    importer = "a task imports when it runs" if item.is_lazy else "the modules of its tasks import"
    message = f"The image of `{subject.name}` lacks `{item.module}`, which {importer}{elsewhere}"
    where = f" ({subject.origin})" if subject.origin else ""
    if isinstance(subject.image, ExternalImage):
        image = f'flyte.Image.from_debian_base().with_pip_packages("{package}")'
        hint = f"give `{subject.name}`{where} an image that has it: `{image}`{_unless(item.module, package)}"
    else:
        hint = addition(subject.name, item.module, package, subject.origin)
    return Finding(RULE, "error", message, subject.name, item.file, item.line, hint, modules=(item.top,))


def addition(name: str, module: str, package: str, origin: str) -> str:
    """What to add to the image of an environment that lacks a module."""
    where = f" ({origin})" if origin else ""
    return f'add `.with_pip_packages("{package}")` to the image of `{name}`{where}{_unless(module, package)}'


def _unless(module: str, package: str) -> str:
    """That a package is proposed only because it is called as the module is, where nothing else is known."""
    top = module.partition(".")[0]
    is_guess = package == top and not distributions.providers(module)
    return f"; or what brings `{top}`, if that is called otherwise" if is_guess else ""


def _doubtful(subject: Subject, items: Mapping[Import, Sequence[str]], *, is_lockable: bool) -> Finding:
    first = next(iter(items))
    modules = tuple(item.top for item in items)
    why = "; ".join(list(dict.fromkeys(doubt for doubts in items.values() for doubt in doubts))[:2])
    message = f"Whether the image of `{subject.name}` has {_named(modules)} is not known: {why}"
    hint = f"`flytebuild check --in-image --for {subject.name}` finds out"
    if is_lockable:
        hint += "; with `flytebuild lock` it is known"
    return Finding(RULE, "unknown", message, subject.name, first.file, first.line, hint, modules=modules)


def listed(names: Sequence[str]) -> str:
    """Environments as those whose images are meant."""
    shown = [f"`{name}`" for name in names[:3]]
    return f"that of {shown[0]}" if len(shown) == 1 else "those of " + ", ".join(shown)
