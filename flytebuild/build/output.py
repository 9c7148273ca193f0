"""Images as files instead of in a registry or an engine: OCI archives, or OCI image layouts.

What a registry has is fetched from there, byte for byte; everything else is built. A file, or a folder, is there under
its name when it is whole.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from blake3 import blake3
from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.build import layouts
from flytebuild.build.builder import Outcome
from flytebuild.build.images import build_images
from flytebuild.build.labels import IMAGE
from flytebuild.build.stores import Stores
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.session.providers import StreamProvider
from flytebuild.buildkit.session.receive import Archives
from flytebuild.config import Config
from flytebuild.config_values import Compression
from flytebuild.errors import OutputError, UsageError
from flytebuild.events import Emit, Event, ImageFinished
from flytebuild.facts import Absent
from flytebuild.plan import ImagePlan, Observation, Plan, is_in_engine
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import parse
from flytebuild.state import State

Kind: TypeAlias = Literal["oci-archive", "oci"]


KINDS: tuple[str, ...] = get_args(Kind)


class Output(Struct, frozen=True):
    """What is written: an archive (`oci-archive`) or a layout (`oci`) for each image, into a folder."""

    kind: Kind
    folder: Path

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read `KIND:FOLDER`. Raises UsageError."""
        kind, _, folder = text.partition(":")
        if kind not in KINDS or not folder:
            raise UsageError(
                f"`{text}` says neither what is written nor where",
                hint="`oci-archive:FOLDER` for an archive of each image, `oci:FOLDER` for a layout folder of each",
            )
        return cls("oci" if kind == "oci" else "oci-archive", Path(folder))

    def place(self, image: ImagePlan) -> Path:
        """The file or folder of an image, called after the first of its environments."""
        name = image.environments[0]
        return self.folder / (name if self.kind == "oci" else f"{name}.tar")


async def write_images(
    plan: Plan, config: Config, stores: Stores, state: State, output: Output, emit: Emit, *, fail_fast: bool = False
) -> tuple[Outcome, ...]:
    """Write every image of the plan that is not external; raises as `build_images` does, and OutputError."""
    whole = {item.image for item in plan.environments}
    members = {member for image in plan.images if image.reference in whole for _, member in image.members}
    images = [image for image in plan.images if image.digest and image.reference in whole | members]
    places = {image.reference: str(output.place(image)) for image in images if image.reference in whole}

    def tell(event: Event) -> None:
        if isinstance(event, ImageFinished) and event.manifest and event.image in places:
            event = replace(event, written=places[event.image])
        emit(event)

    with _scratch(output) as scratch:
        files = FileStores(output, scratch, stores.registry.client, config.compression, frozenset(whole))
        sources = {image.reference: source for image in images if (source := _source(image, plan))}
        # Members of an index that is fetched come with it.
        come = {member for image in images if image.reference in sources for _, member in image.members}
        fetched = [
            await _fetch(image, files, sources[image.reference], tell)
            for image in images
            if image.reference in sources and image.reference not in come
        ]
        rest = tuple(
            replace(image, status="missing", copied_from=None)
            for image in images
            if image.reference not in sources.keys() | come
        )
        wanted = replace(plan, images=rest, unreachable=frozenset())
        return (*fetched, *await build_images(wanted, config, files, state, tell, fail_fast=fail_fast))


async def _fetch(image: ImagePlan, files: FileStores, source: str, emit: Emit) -> Outcome:
    started = time.monotonic()
    manifest = await files.fetch(image, source)
    seconds = time.monotonic() - started
    emit(ImageFinished(image.reference, image.environments, image.reference, manifest, seconds))
    return Outcome(image, manifest=manifest)


class FileStores(Struct, frozen=True):
    """Where images become files; those that are not `whole` are kept until the index is made that they are part of."""

    output: Output
    scratch: Path
    client: RegistryClient
    compression: Compression
    whole: frozenset[str]
    is_public: bool = False
    _parts: dict[str, Path] = field(default_factory=dict)

    @property
    def providers(self) -> tuple[StreamProvider, ...]:
        return (Archives(self._archive),)

    def of(self, reference: str) -> FileStores:
        return self

    async def observe(self, reference: str) -> Observation:
        return Observation(Absent())

    def export(self, reference: str, image_config: str | None) -> Export:
        attrs = {"name": reference, "oci-mediatypes": "true", "compression": self.compression}
        if self.compression == "gzip":
            attrs["force-compression"] = "true"
        return Export("oci", attrs | ({"containerimage.config": image_config} if image_config else {}))

    async def publish(self, image: ImagePlan, manifest: str) -> str:
        with _refusing(self.output):
            await asyncio.to_thread(self._finish, image, self._archive(image.reference))
        return manifest

    async def copy(self, image: ImagePlan, source: str) -> str:
        raise NotImplementedError("no image is a copy of another file")

    async def publish_index(self, index: ImagePlan) -> str:
        with _refusing(self.output):
            return await asyncio.to_thread(self._join, index)

    async def fetch(self, image: ImagePlan, source: str) -> str:
        """Write an image that a registry has; returns its digest. Raises RegistryUnavailableError."""
        folder = self._folder(image.reference)
        with _refusing(self.output):
            digest = await layouts.fetch(self.client, parse(source), folder, image.reference)
            await asyncio.to_thread(self._finish, image, folder)
        return digest

    def _join(self, index: ImagePlan) -> str:
        members = {platform: self._as_layout(self._parts[member], member) for platform, member in index.members}
        folder = self._folder(index.reference)
        digest = layouts.join(folder, members, index.reference, {IMAGE: index.digest or ""})
        self._finish(index, folder)
        return digest

    def _finish(self, image: ImagePlan, made: Path) -> None:
        """Put an archive or a layout to its place in the form that is wanted, or keep it for its index."""
        if image.reference not in self.whole:
            self._parts[image.reference] = made
            return
        place = self.output.place(image)
        if self.output.kind == "oci":
            _replace_layout(self._as_layout(made, image.reference), place, self.scratch / "old")
        elif made.is_dir():
            archive = self._archive(image.reference)
            layouts.pack(made, archive)
            archive.replace(place)
        else:
            made.replace(place)

    def _as_layout(self, made: Path, reference: str) -> Path:
        if made.is_dir():
            return made
        folder = self._folder(reference)
        layouts.unpack(made, folder)
        made.unlink()
        return folder

    def _archive(self, reference: str) -> Path:
        return self._folder(reference).with_suffix(".tar")

    def _folder(self, reference: str) -> Path:
        return self.scratch / blake3(reference.encode()).hexdigest(16)


def _source(image: ImagePlan, plan: Plan) -> str | None:
    """Where a registry has the image; what only an engine has is built once more, from what its builder remembers."""
    if image.status == "present":
        return None if is_in_engine(image.reference) else image.reference
    built = {item.reference for item in plan.to_build}
    is_there = image.copied_from and image.copied_from not in built and not is_in_engine(image.copied_from)
    return image.copied_from if is_there else None


def _replace_layout(made: Path, place: Path, aside: Path) -> None:
    """A folder cannot be put in the place of another one: for a moment there is none."""
    if place.exists():
        if not (place / layouts.MARKER).is_file():
            raise UsageError(f"`{place}` is there, and is no image layout", hint="remove it, or name another folder")
        place.rename(aside)
    made.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _scratch(output: Output) -> Iterator[Path]:
    """A folder for what is not whole yet, beside what will be: to move it there is one step."""
    with _refusing(output):
        output.folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".flytebuild-", dir=output.folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _refusing(output: Output) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"Images cannot be written to `{output.folder}` ({error.strerror or error})") from error
