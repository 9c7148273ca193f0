"""The proxies that a host goes through, for steps that have a network.

BuildKit sets them as variables, in capitals and in small letters, and leaves them out of the cache key
(solver/llbsolver/ops/exec.go): a result is the same whichever way its packages came.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit

from flytebuild.buildkit._pb import ops_pb2


@dataclass(frozen=True, slots=True)
class Proxies:
    """What `HTTP_PROXY` and its like say; empty where there is none. A URL may have a password: it is never shown."""

    http_proxy: str = field(default="", repr=False)
    https_proxy: str = field(default="", repr=False)
    ftp_proxy: str = field(default="", repr=False)
    no_proxy: str = field(default="", repr=False)
    all_proxy: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return any((self.http_proxy, self.https_proxy, self.ftp_proxy, self.all_proxy))

    def without(self, names: Container[str]) -> Proxies:
        """Those whose variable is not among `names`, in whichever letters."""
        kept = (name for name in _NAMES if name not in names and name.upper() not in names)
        return Proxies(**{name: getattr(self, name) for name in kept})

    def variables(self) -> dict[str, str]:
        """Those that there are, by the names in capitals."""
        return {name.upper(): value for name in _NAMES if (value := getattr(self, name))}

    def encode(self) -> ops_pb2.ProxyEnv:
        """As BuildKit takes them."""
        return ops_pb2.ProxyEnv(**{name: getattr(self, name) for name in _NAMES})


_NAMES = tuple(item.name for item in fields(Proxies))


def proxies_of(environ: Mapping[str, str]) -> Proxies:
    """The host's proxies, but for those on its own loopback address, where no step gets to."""
    found = {name: environ.get(name) or environ.get(name.upper(), "") for name in _NAMES}
    return Proxies(**{name: value for name, value in found.items() if name == "no_proxy" or not _is_loopback(value)})


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
