"""What its owner asks of a control plane that runs."""

from __future__ import annotations

import httpx

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.client import ControlPlane, find
from flytebuild.runtime.credentials import load_or_create
from flytebuild.task_secrets import TaskSecrets

_HAND_OVER_SECONDS = 5.0


def http(endpoint: str, seconds: float = 10) -> httpx.Client:
    """What speaks to a control plane, which has `seconds` for each answer."""
    # Never through a proxy, and without TLS: the address is this machine's. To read the authorities that it would trust
    # takes longer than all that is asked.
    return httpx.Client(base_url=endpoint, timeout=seconds, trust_env=False, verify=False)  # noqa: S501


def owner_header(plane: ControlPlane) -> dict[str, str]:
    """The header that shows whose control plane it is."""
    return {"Authorization": f"Bearer {load_or_create(plane.home).owner_token}"}


def hand_over(plane: ControlPlane, secrets: TaskSecrets) -> tuple[str, ...]:
    """Give the control plane the secrets that its tasks may ask for, by name; returns those that nobody has.

    Raises ControlPlaneError.
    """
    if not secrets.values and not secrets.missing:
        return ()
    document = {"values": dict(secrets.values), "missing": dict(secrets.missing)}
    try:
        with http(plane.endpoint, _HAND_OVER_SECONDS) as connection:
            answer = connection.put("/secrets", json=document, headers=owner_header(plane)).raise_for_status()
            # One that runs since before this was told answers with nothing.
            return tuple(answer.json()["unknown"]) if answer.content else ()
    except httpx.HTTPError as error:
        raise ControlPlaneError(
            f"The control plane at {plane.endpoint} does not take the secrets of the run's tasks",
            hint=f"its log is `{plane.log_file}`",
        ) from error


def under_way(config: Config) -> tuple[str, ...]:
    """The names of the runs that have not ended, as far as a control plane of the configured folder answers."""
    plane = find(config)
    try:
        if plane:
            with http(plane.endpoint) as connection:
                found = connection.get("/api/runs").raise_for_status().json()["runs"]
                return tuple(run["run"] for run in found if run["ended"] is None)
    except httpx.HTTPError:
        pass
    return ()
