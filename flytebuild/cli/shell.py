"""`flytebuild shell`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from flytebuild.cli import code, completion, options
from flytebuild.cli.here import or_here
from flytebuild.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flytebuild.authoring.environments import Definitions
    from flytebuild.config import Config
    from flytebuild.graph import EnvironmentNode
    from flytebuild.runtime.shell import Session


@click.command(
    short_help="Open a shell in an environment's image.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@options.inside
@options.settings(without=("platforms",))
@click.argument("name", metavar="ENVIRONMENT", shell_complete=completion.targets)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
def shell(paths: tuple[Path, ...], name: str, command: tuple[str, ...], flags: Mapping[str, Any]) -> int:
    """Open a shell in the image of an environment, or of a task's, with your code in its working directory.

    The image is built first where it is missing. The container has the environment's variables, secrets among them, and
    is gone afterwards. With COMMAND that is run instead, and its exit code is ours.

    \b
    Examples:
      flytebuild shell train
      flytebuild shell train python -c 'import torch; print(torch.__version__)'
      cat data.csv | flytebuild shell main.main python -c 'import sys; print(len(sys.stdin.read()))'
    """
    from flytebuild import config
    from flytebuild.engine import connect
    from flytebuild.runtime.shell import converse

    if command[:1] == ("--",):
        command = command[1:]
    settings = config.load(Path.cwd(), **flags)
    session = _session(settings, or_here(paths), name, command)
    client = connect()
    try:
        return converse(client, session)
    finally:
        client.close()


def _session(settings: Config, paths: tuple[Path, ...], name: str, command: tuple[str, ...]) -> Session:
    """The image, built and with the engine; the user's code; the environment's variables."""
    from flytebuild import pipeline
    from flytebuild.cli.console import notice
    from flytebuild.runtime.shell import SHELL

    definitions = code.definitions(settings, paths)
    with pipeline.reader(settings, notice) as read:
        environment = definitions.alone(name, read)
    secrets = _secrets(settings, definitions.secret_variables(environment.name))
    (image,) = asyncio.run(built(settings, [environment]))
    return session(
        settings,
        definitions,
        environment,
        image,
        command or SHELL,
        secrets,
        is_terminal=_has_terminal(),
    )


def _secrets(settings: Config, asked: Mapping[str, str]) -> dict[str, str]:
    """The variables of the environment's secrets, found where `flytebuild run` finds them; what is missing is told."""
    import os

    from flytebuild.build.secrets import task_secrets
    from flytebuild.cli.console import notice
    from flytebuild.events import Notice

    found = task_secrets(asked.values(), os.environ, settings.secrets)
    for name, why in found.missing.items():
        notice(Notice(f"the shell is without the secret `{name}`: {why}"))
    return {variable: found.values[name] for variable, name in asked.items() if name in found.values}


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


async def built(settings: Config, environments: Sequence[EnvironmentNode]) -> list[str]:
    """The images of environments, each of which is there when this returns."""
    from flytebuild import pipeline
    from flytebuild.cli.console import notice
    from flytebuild.cli.progress import follow

    planned = await pipeline.plan_nodes(settings, environments, notice)
    if planned.to_build or planned.to_copy:
        with pipeline.recorded(settings) as experience, follow(settings.progress, expected=experience.seconds) as emit:
            await pipeline.build(settings, planned, emit)
    return [planned.reference_of(environment.name) for environment in environments]


def session(
    settings: Config,
    definitions: Definitions,
    environment: EnvironmentNode,
    image: str,
    command: Sequence[str],
    secrets: Mapping[str, str] = MappingProxyType({}),
    *,
    is_terminal: bool = False,
) -> Session:
    """A command in an environment's image, with the user's code, the environment's variables, and those of secrets."""
    from flytebuild.authoring import sdk
    from flytebuild.authoring.roots import named
    from flytebuild.llb.trust import CA_VARIABLES
    from flytebuild.runtime.archives import Entry, pieces
    from flytebuild.runtime.container import CA_PATH
    from flytebuild.runtime.containers import trust
    from flytebuild.runtime.identity import read_bundle
    from flytebuild.runtime.shell import Session

    if environment.file is None:
        raise DefinitionError(f"Environment `{environment.name}` is written in no file")
    root = named(Path(environment.file)).roots[0]
    bundle = read_bundle(settings.ca_bundle)
    variables = dict.fromkeys(CA_VARIABLES, CA_PATH) if bundle else {}
    return Session(
        image=fetched(image, settings),
        command=command,
        environment={**variables, **definitions.variables(environment.name), **secrets},
        code=pieces(Entry(file.relative_to(root).as_posix(), file, 0o644) for file in sdk.loaded_modules(root)),
        extra=trust(bundle),
        is_terminal=is_terminal,
    )


def fetched(image: str, settings: Config) -> str:
    """The name under which the engine has the image by now."""
    from flytebuild.engine import connect
    from flytebuild.errors import EngineUnavailableError
    from flytebuild.runtime.docker_executor import DockerExecutor
    from flytebuild.runtime.executor import StartError

    executor = DockerExecutor(connect(), settings.mirrors, None)
    try:
        return asyncio.run(executor.present(image))
    except StartError as error:
        raise EngineUnavailableError(error.message) from error
    finally:
        executor.close()
