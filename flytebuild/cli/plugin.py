"""flytebuild inside Flyte's own tools: the entry points that the SDK loads.

- `flyte.plugins.image_builders`: the SDK asks for one image at a time, all in one moment; we build them together.
- `flyte.plugins.cli.commands`: `flyte plan` and `flyte check` (`flytebuild.cli.flyte_commands`).
- `flyte.plugins.cli.hooks`: before `flyte run` and `flyte deploy`, the whole closure is planned and built.
- `flyte.plugins.types`: once per process, when the SDK is initialised, our control plane is started if the
  configuration names it. The SDK calls this in a thread of its own and swallows what is raised there: a failure is
  told, and told again by whatever needs the control plane.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flytebuild.authoring import broken_pipe, leaving, sdk
from flytebuild.authoring.environments import Definitions
from flytebuild.authoring.hooks import before_leaves
from flytebuild.authoring.images import Reader
from flytebuild.authoring.site import record
from flytebuild.cli import console
from flytebuild.cli.console import err, print_error
from flytebuild.errors import FlytebuildError
from flytebuild.graph import EnvironmentNode
from flytebuild.spec.model import Definition, ExternalImage

if TYPE_CHECKING:
    import flyte
    import rich_click as click

    from flytebuild.config import Config

leaving.with_care()


class FlytebuildImageBuilder:
    """The image builder that `image.builder: flytebuild` names in Flyte's configuration."""

    async def build_image(
        self, image: flyte.Image, dry_run: bool, wait: bool = True, force: bool = False
    ) -> sdk.ImageBuild:
        """Build one image, or find it built; `wait` and `force` change nothing, since we never trust a guess."""
        environment = sdk.environment_of(image)
        name, file = (environment.name, environment._declaring_file) if environment else (image.name or "image", None)
        try:
            with _reading() as read:
                definition = read.define(image, name, file)
        except FlytebuildError as error:
            _tell(error)
            raise
        if isinstance(definition, ExternalImage):
            return sdk.ImageBuild(uri=definition.reference, remote_run=None)
        if dry_run:
            return sdk.ImageBuild(uri=image.uri, remote_run=None)
        from flytebuild.cli.prepare import ready

        reference = ready.get(definition) or await _batch_of(asyncio.get_running_loop()).reference(image, definition)
        return sdk.ImageBuild(uri=reference, remote_run=None)

    def get_checkers(self) -> list[type[NeverThere]]:
        """The SDK would answer for an image by a tag that is wrong in both directions; we look ourselves."""
        return [NeverThere]


_prepared: dict[int, tuple[object, str]] = {}
"""The images of environments that were prepared before the SDK asks for them, each with its reference, by `id`."""


async def _reference(image: flyte.Image) -> str | None:
    """Under which reference an image of a run is there when this returns; None where it is another builder's."""
    if not sdk.uses_our_builder():
        return None
    if found := _prepared.get(id(image)):
        return found[1]
    try:
        return (await FlytebuildImageBuilder().build_image(image, dry_run=False)).uri
    except FlytebuildError as error:
        raise sdk.ImageBuildError(error.message) from error


class NeverThere:
    """A checker that sends every question on to `build_image`, which looks before it builds."""

    @classmethod
    async def image_exists(cls, repository: str, tag: str, arch: tuple[str, ...] = ()) -> str | None:
        """Always None: "ask the builder"."""


class _Batch:
    """Images asked for in the same moment: the SDK starts one task per environment, all in one turn of the loop."""

    def __init__(self) -> None:
        self._nodes: list[EnvironmentNode] = []
        self._planning: asyncio.Task[dict[str, str]] | None = None

    async def reference(self, image: flyte.Image, definition: Definition) -> str:
        """The reference under which the image is there when this returns."""
        name = next((node.name for node in self._nodes if node.image == definition), None)
        if name is None:
            environment = sdk.environment_of(image)
            name = environment.name if environment else f"image {len(self._nodes) + 1}"
            if name in {node.name for node in self._nodes}:
                name = f"{name} ({len(self._nodes) + 1})"
            self._nodes.append(EnvironmentNode(name, None, (), (), definition))
        if self._planning is None:
            self._planning = asyncio.ensure_future(self._prepare())
        return (await asyncio.shield(self._planning))[name]

    async def _prepare(self) -> dict[str, str]:
        from flytebuild.cli.prepare import prepare_nodes

        await asyncio.sleep(0)
        _batches.pop(asyncio.get_running_loop(), None)
        try:
            await asyncio.to_thread(_ensure_control_plane)
            planned = await prepare_nodes(_settings(), self._nodes)
            await asyncio.to_thread(_hand_over, Definitions.collect(sdk.loaded_environments()))
        except FlytebuildError as error:
            _tell(error)
            raise
        return {item.name: item.image for item in planned.environments}


_batches: dict[asyncio.AbstractEventLoop, _Batch] = {}


def _batch_of(loop: asyncio.AbstractEventLoop) -> _Batch:
    return _batches.setdefault(loop, _Batch())


def hook_run(command: click.Command) -> click.Command:
    """Prepare images before `flyte run` starts a task remotely."""
    return _before(command, "`flytebuild run` needs no package here that only tasks use")


def hook_deploy(command: click.Command) -> click.Command:
    """Prepare images before `flyte deploy` deploys an environment."""
    return _before(command)


def _before(command: click.Command, without_packages: str = "") -> click.Command:
    record()
    broken_pipe.ends_the_process()
    return before_leaves(command, _prepare_closure, without_packages=without_packages)


def _prepare_closure(environments: Iterable[flyte.Environment], copy_style: str) -> None:
    from flytebuild.cli.prepare import prepare

    if not sdk.uses_our_builder():
        return
    try:
        _ensure_control_plane()
        definitions = Definitions.collect(environments)
        if copy_style == "none" and any(sdk.open_bundles(item.image) for item in definitions.environments.values()):
            # What these images are is not decided yet: they are built when the SDK asks for them, all at once.
            return
        planned = asyncio.run(prepare(_settings(), definitions))
        for name, item in definitions.environments.items():
            _prepared[id(item.image)] = (item.image, planned.reference_of(name))
        _hand_over(definitions)
    except FlytebuildError as error:
        _tell(error)
        raise SystemExit(error.exit_code) from error


def on_flyte_init() -> None:
    """Start our control plane when Flyte's configuration points to it and it does not run.

    `flytebuild` itself starts it when it needs it: the SDK also calls this when it is only asked about types.
    """
    _adapt_sdk()
    if console.is_flytebuild or not sdk.uses_our_builder():
        return
    try:
        _ensure_control_plane()
    except FlytebuildError as error:
        _tell(error)


@cache
def _adapt_sdk() -> None:
    """What the SDK does otherwise in this process; once, since every `flyte.init` comes by."""
    sdk.remember_bundles_only_where(_is_uploaded)
    sdk.keep_resolved_bundles()
    sdk.leave_installed_out_of_bundles()
    sdk.ask_for_images(_reference)


def _tell(error: FlytebuildError) -> None:
    """Print an error, once: what fails when the SDK is initialised fails again when a run is to start."""
    if error.message not in _told:
        _told.add(error.message)
        print_error(error)


_told: set[str] = set()


def _ensure_control_plane() -> None:
    """Have the control plane up that this process talks to, if it is ours, and if it was not seen a moment ago."""
    global _seen
    settings = _settings()
    if not _is_ours(settings) or time.monotonic() - _seen < _MOMENT_SECONDS:
        return
    # Loaded here: who speaks to another control plane needs none of it.
    from flytebuild.runtime import client

    sdk.set_storage_defaults(client.flyte_environment(client.ensure(settings, err().print)))
    _seen = time.monotonic()


_MOMENT_SECONDS = 5.0
"""The SDK is initialised, which asks for it, and then a run is prepared, which asks again."""

_seen = -_MOMENT_SECONDS


def _hand_over(definitions: Definitions) -> None:
    """Give the control plane, if it is ours, what the tasks ask for of this process's secrets."""
    import os

    asked = definitions.secrets()
    if not asked:
        return
    from flytebuild.build.secrets import task_secrets
    from flytebuild.runtime import client, owner

    settings = _settings()
    if _is_ours(settings) and (plane := client.find(settings)):
        owner.hand_over(plane, task_secrets(asked, os.environ, settings.secrets))


@contextmanager
def _reading() -> Iterator[Reader]:
    from flytebuild import pipeline
    from flytebuild.cli.console import notice

    with pipeline.reader(_settings(), notice) as read:
        yield read


def _is_uploaded(uri: str) -> bool:
    """Whether an upload that the SDK remembers is still there; what other control planes have is theirs to know."""
    from flytebuild.runtime import client

    settings = _settings()
    # Of a store of the user's own it is known when the run is created.
    return not _is_ours(settings) or bool(settings.storage) or client.has_object(settings.home, uri)


def _is_ours(settings: Config) -> bool:
    return sdk.configured_endpoint() == f"127.0.0.1:{settings.port}"


def _settings() -> Config:
    from flytebuild import config

    return config.load(Path.cwd())
