"""What a control plane that was killed has left on the engine."""

from __future__ import annotations

from pathlib import Path

from flytebuild import engine
from flytebuild.errors import EngineUnavailableError
from flytebuild.runtime import home
from flytebuild.runtime.addresses import LABEL


def are_there(folder: Path) -> bool:
    """Whether the engine has containers or networks of a data folder; false where it does not answer."""
    from docker.errors import DockerException

    if not (folder / home.MARKER).exists():
        return False
    labelled = {"label": f"{LABEL}.home={home.make(folder)}"}
    try:
        client = engine.connect()
    except EngineUnavailableError:
        return False
    try:
        return bool(client.api.containers(all=True, filters=labelled) or client.api.networks(filters=labelled))
    except (DockerException, OSError):
        return False
    finally:
        client.close()
