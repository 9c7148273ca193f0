"""A client of BuildKit's control API: connect, keep a session open, solve, follow the progress.

What is listed here is what a program needs that uses it on its own (docs/buildkit-client.md). It is imported when it
is asked for: graphs are made without gRPC.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flytebuild.buildkit.address import Certificates, locate, parse
    from flytebuild.buildkit.connection import Connection
    from flytebuild.buildkit.export import Export
    from flytebuild.buildkit.frontend import Frontend, dockerfile
    from flytebuild.buildkit.progress import Progress
    from flytebuild.buildkit.session.files import Files
    from flytebuild.buildkit.session.providers import RegistryCredentials, Secrets
    from flytebuild.buildkit.session.receive import Archives
    from flytebuild.buildkit.session.session import Session
    from flytebuild.buildkit.solve import Cache, Solve, SolveError, image_config

__all__ = [
    "Archives",
    "Cache",
    "Certificates",
    "Connection",
    "Export",
    "Files",
    "Frontend",
    "Progress",
    "RegistryCredentials",
    "Secrets",
    "Session",
    "Solve",
    "SolveError",
    "dockerfile",
    "image_config",
    "locate",
    "parse",
]

_PLACES = {
    "address": ("Certificates", "locate", "parse"),
    "connection": ("Connection",),
    "frontend": ("Frontend", "dockerfile"),
    "progress": ("Progress",),
    "session.files": ("Files",),
    "session.providers": ("RegistryCredentials", "Secrets"),
    "session.receive": ("Archives",),
    "session.session": ("Session",),
    "export": ("Export",),
    "solve": ("Cache", "Solve", "SolveError", "image_config"),
}


def __getattr__(name: str) -> object:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module `{__name__}` has no `{name}`")
