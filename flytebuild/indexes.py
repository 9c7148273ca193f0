"""The host's settings of uv about package indexes: build steps are given them, and versions are decided with them."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_LINKS = "UV_FIND_LINKS"


def of_host(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that are set. Of links only URLs: a step does not have the host's folders, for whose lack uv would fail."""
    found = {name: environ[name] for name in VARIABLES if environ.get(name)}
    online = [link for link in found.pop(_LINKS, "").split(",") if link.startswith(("https://", "http://"))]
    return found | ({_LINKS: ",".join(online)} if online else {})


def urls(settings: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs in such settings, with their credentials."""
    words = (word for name in VARIABLES for word in settings.get(name, "").replace(",", " ").split())
    # An index may have a name: `name=URL`.
    return tuple(word.partition("=")[2] if "=" in word.partition("://")[0] else word for word in words)
