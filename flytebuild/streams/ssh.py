"""Command lines of `ssh`, made of addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SSH = re.compile(r"(?:([^@:-][^@:]*)@)?(\[[\w:.%]+\]|[^@:\[\]-][^@:\[\]]*)(?::(\d+))?", re.ASCII)
"""User, host and port; none begins with `-`, which `ssh` would take for an option."""


def ssh_command(url: str, *remote: str) -> tuple[str, ...]:
    """`remote` on the machine that an `ssh://` address names. Raises ValueError for one that names none."""
    found = _SSH.fullmatch(urlsplit(url).netloc)
    if found is None:
        raise ValueError("it names no user and host that `ssh` could be given")
    user, host, port = found.groups()
    options = [*(("-l", user) if user else ()), *(("-p", port) if port else ())]
    # A question could not be answered, and would be waited for.
    return ("ssh", "-o", "BatchMode=yes", *options, "--", host.strip("[]"), *remote)
