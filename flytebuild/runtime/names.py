"""Names of runs and actions: which are allowed, and new ones for runs.

They become folders, labels and parts of URLs, so nothing else than these characters may enter.
"""

from __future__ import annotations

import re
import secrets

from flytebuild.runtime.storage import ObjectNameError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FOLDER = re.compile(rf"{_NAME.pattern}-[0-9a-f]{{8}}")


def check_name(name: str) -> str:
    """The name itself when it is allowed; ObjectNameError otherwise."""
    if not _NAME.fullmatch(name):
        raise ObjectNameError(f"`{name}` is not a valid name: letters, digits, `.`, `_` and `-` are")
    return name


def new_folder(name: str) -> str:
    """Where a run of that name keeps its data: never where an earlier run of the same name did."""
    return f"{name}-{secrets.token_hex(4)}"


def is_folder(name: str) -> bool:
    """Whether `new_folder` makes such names."""
    return _FOLDER.fullmatch(name) is not None


def new_run_name() -> str:
    """A name that no other run has: a letter and 60 random bits, readable in a URL."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return "r" + "".join(secrets.choice(alphabet) for _ in range(12))
