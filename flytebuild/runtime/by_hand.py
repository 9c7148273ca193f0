"""The host's side of running an action again by hand: asks the control plane for what `runtime.again` tells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from flytebuild.errors import ControlPlaneError, RunError
from flytebuild.runtime.client import ControlPlane
from flytebuild.runtime.owner import owner_header

_ANSWER_SECONDS = 60.0
"""How long the next piece of an answer may take: inputs may be folders with many files."""


def again(plane: ControlPlane, run: str, action: str) -> dict[str, Any]:
    """What it takes to run an action again.

    Raises RunError for an action that is not there or has nothing to run, ControlPlaneError.
    """
    return _told(plane, f"/again/{run}/{action}")


def secrets(plane: ControlPlane, run: str, action: str) -> tuple[str, ...]:
    """The names of the secrets that an action's task asks for. Raises as `again` does."""
    return tuple(_told(plane, f"/again/{run}/{action}/secrets")["secrets"])


def _told(plane: ControlPlane, path: str) -> dict[str, Any]:
    with _answers(plane), _asked(plane, path) as answer:
        answer.read()
        if not answer.is_success:
            said = answer.text.strip()
            raise RunError(said[:1].upper() + said[1:], hint=f"{plane.endpoint} shows all runs and their actions")
        return dict(answer.json())


@contextlib.contextmanager
def files(plane: ControlPlane, run: str, action: str) -> Iterator[Iterator[bytes]]:
    """What is put into an action's container before it starts, as an archive that is read inside the block.

    Raises ControlPlaneError.
    """
    with _answers(plane), _asked(plane, f"/again/{run}/{action}/files") as answer:
        yield answer.raise_for_status().iter_bytes()


def fetch(plane: ControlPlane, link: str) -> bytes | None:
    """What a link of the control plane leads to, None where there is nothing. Raises ControlPlaneError."""
    with _answers(plane), _asked(plane, link) as answer:
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().read()


@contextlib.contextmanager
def _asked(plane: ControlPlane, path: str) -> Iterator[httpx.Response]:
    # Never through a proxy: the address is this machine's.
    with httpx.stream(
        "GET", f"{plane.endpoint}{path}", headers=owner_header(plane), timeout=_ANSWER_SECONDS, trust_env=False
    ) as answer:
        yield answer


@contextlib.contextmanager
def _answers(plane: ControlPlane) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise ControlPlaneError(
            f"The control plane at {plane.endpoint} does not give what it was asked for",
            hint=f"its log is `{plane.log_file}`",
        ) from error
