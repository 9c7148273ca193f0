"""Where flytebuild keeps things on this machine, told by the environment at the moment somebody asks."""

from __future__ import annotations

from pathlib import Path

import platformdirs

_NAME = "flytebuild"


def state_file() -> Path:
    """The database of what was seen before (`flytebuild.state`)."""
    return Path(platformdirs.user_state_dir(_NAME, appauthor=False), "state.sqlite")


def digests_file() -> Path:
    """The database of files' digests (`flytebuild.trees.statcache`)."""
    return Path(platformdirs.user_cache_dir(_NAME, appauthor=False), "files.sqlite")


def session_keys() -> Path:
    """The folder of the keys by which a BuildKit knows this machine again (`flytebuild.buildkit.session`)."""
    return Path(platformdirs.user_cache_dir(_NAME, appauthor=False), "sessions")


def home() -> Path:
    """The control plane's folder, if nothing else is configured."""
    return Path(platformdirs.user_data_dir(_NAME, appauthor=False))
