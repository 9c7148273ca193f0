"""The engine's own network: a bridge, a /16 that nobody uses, and three firewall rules.

They are in this machine's network namespace, or in one of the engine's own where it is on a host of its own.

The engine runs with `"iptables": false`: a dockerd that manages the firewall removes the chains of every other dockerd
in the same network namespace when it starts. So the rules that let containers out are ours. They name our /16, which
holds the users' networks as well, and are removed one by one.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.machine import link
from scripts.machine.namespace import NetworkNamespace, Rule, accept
from scripts.machine.report import MachineError
from scripts.machine.state import Record, State

CANDIDATES = tuple(f"172.{second}.0.0/16" for second in range(16, 32))


def prepare(state: State, record: Record) -> None:
    """Make the bridge and the rules anew; fill in `record.subnet`."""
    remove(state, record)
    here = NetworkNamespace(state.root)
    with _one_at_a_time():
        taken = _taken_networks(here)
        if record.subnet is None or _overlaps(record.subnet, taken):
            record.subnet = next((subnet for subnet in CANDIDATES if not _overlaps(subnet, taken)), None)
        if record.subnet is None:
            raise MachineError(
                "No network in 172.16.0.0/12 is free for the engine", hint="remove one with `ip link del`"
            )
        # Written down first: an interrupted command leaves nothing that `down` does not know of.
        record.save(state)
        if record.linked_port:
            link.make(state, record.subnet, record.linked_port, largest_packet(state))
        namespace = of_engine(state, record)
        hardware = hardware_address(record.subnet)
        namespace.demand("ip", "link", "add", state.name, "address", hardware, "type", "bridge")
        namespace.demand("ip", "address", "add", bridge_address(record.subnet), "dev", state.name)
        namespace.demand("ip", "link", "set", state.name, "up")
    for rule in _rules(record.subnet):
        namespace.add_rule(rule)


def remove(state: State, record: Record) -> None:
    """Remove the rules, the bridge, and the bridges that a killed engine has left of its users' networks."""
    if record.subnet is None or not state.root.is_dir():
        return
    if record.linked_port:
        link.remove(state, record.subnet, record.linked_port)
        return
    here = NetworkNamespace(state.root)
    for rule in _rules(record.subnet):
        here.remove_rule(rule)
    networks = state.root / "var/lib/docker/network/files/local-kv.db"
    known = networks.read_bytes() if networks.exists() else b""
    for path in Path("/sys/class/net").iterdir():
        # Docker names a network's bridge by the first half of its id.
        if path.name == state.name or (path.name.startswith("br-") and path.name[3:].encode() in known):
            here.run("ip", "link", "delete", path.name)


def of_engine(state: State, record: Record) -> NetworkNamespace:
    """The namespace that the engine is in."""
    return NetworkNamespace(state.root, state.namespace if record.linked_port else None)


def bridge_address(subnet: str) -> str:
    """The bridge has the lower half of the /16."""
    lower, _ = ipaddress.ip_network(subnet).subnets()
    return f"{lower[1]}/{lower.prefixlen}"


def hardware_address(subnet: str) -> str:
    """The bridge's own, made of its address as Docker does it.

    A bridge without one takes the lowest of its ports': whenever that one comes or goes, every other container keeps
    sending to an address that is no more, for up to a minute.
    """
    lower, _ = ipaddress.ip_network(subnet).subnets()
    return ":".join(f"{part:02x}" for part in (0x02, 0x42, *lower[1].packed))


def address_pool(subnet: str) -> dict[str, Any]:
    """The users' networks come from the upper half."""
    _, upper = ipaddress.ip_network(subnet).subnets()
    return {"base": str(upper), "size": 24}


def largest_packet(state: State) -> int:
    """The MTU of the way out: a container that takes a larger one loses packets in tunnels."""
    routes = NetworkNamespace(state.root).list("route", "show", "default")
    sizes = [int(Path("/sys/class/net", route["dev"], "mtu").read_text()) for route in routes if "dev" in route]
    return min([1500, *sizes])


def _rules(subnet: str) -> Iterator[Rule]:
    yield from accept(subnet)
    yield Rule("nat", "POSTROUTING", "-A", ("-s", subnet, "!", "-d", subnet, "-j", "MASQUERADE"))


def _taken_networks(here: NetworkNamespace) -> list[ipaddress.IPv4Network]:
    """What the machine's addresses and routes cover."""
    routes = [route["dst"] for route in here.list("route", "show", "table", "all") if "dst" in route]
    addresses = [address["local"] for item in here.list("address") for address in item.get("addr_info", ())]
    return [ipaddress.IPv4Network(item) for item in (*routes, *addresses) if item != "default"]


def _overlaps(subnet: str, taken: list[ipaddress.IPv4Network]) -> bool:
    return any(ipaddress.IPv4Network(subnet).overlaps(network) for network in taken)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two state folders that come up together must not choose the same network."""
    folder = os.open("/run", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
