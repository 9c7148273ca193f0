"""The runs of a data folder: as the control plane tells them that runs on it, or as its journal has them."""

from __future__ import annotations

import sqlite3
from typing import Any

import httpx

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime.client import ControlPlane
from flytebuild.runtime.journal import FILE_NAME, Database
from flytebuild.runtime.owner import http
from flytebuild.runtime.web.documents import runs_document


def asked(plane: ControlPlane) -> dict[str, Any]:
    """`flytebuild.runs/1` of a control plane: all runs, the newest first. Raises ControlPlaneError."""
    try:
        with http(plane.endpoint) as connection:
            document: dict[str, Any] = connection.get("/api/runs").raise_for_status().json()
    except httpx.HTTPError as error:
        raise ControlPlaneError(
            f"The control plane at {plane.endpoint} does not tell its runs", hint=f"its log is `{plane.log_file}`"
        ) from error
    return document


def kept(config: Config) -> dict[str, Any]:
    """The same of a folder that no control plane runs on: as it was when the last one ended.

    Raises ControlPlaneError where its journal cannot be read.
    """
    rows = []
    if (config.home / FILE_NAME).exists():
        try:
            database = Database(config.home / FILE_NAME, is_ours=False)
            try:
                rows = [(run, root) for run, root, _ in database.runs()]
            finally:
                database.close()
        except sqlite3.Error as error:
            raise ControlPlaneError(f"The runs in `{config.home}` cannot be read: {error}") from error
    return runs_document(reversed(rows), config.port)
