"""One container that runs to its end by itself, and what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flytebuild.runtime.shell import Session, container

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code of a container's process and its two outputs."""

    code: int
    out: str
    err: str


def run(client: docker.DockerClient, session: Session, seconds: float) -> Ended | None:
    """Run it without any input and leave no container; None where it takes longer than `seconds`.

    Raises EngineUnavailableError when the engine refuses it.
    """
    from requests.exceptions import ConnectionError as Silence
    from requests.exceptions import Timeout

    api = client.api
    with container(api, session) as name:
        api.start(name)
        try:
            code = int(api.wait(name, timeout=seconds)["StatusCode"])
        except (Timeout, Silence):
            return None
        out, err = (api.logs(name, stdout=which, stderr=not which).decode(errors="replace") for which in (True, False))
        return Ended(code, out, err)
