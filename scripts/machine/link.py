"""The link between this machine and an engine that is on a host of its own: a network namespace and a veth pair.

Each end has an address of the last /30 of the engine's /16, which nobody gives out. One thing of the machine's loopback
is reached over it, by the name that it has here: the registry. Connections to that port are led to this machine's
end, and from there to the loopback; the registry itself listens nowhere else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from scripts.machine.namespace import NetworkNamespace, Rule, accept
from scripts.machine.processes import run_quietly
from scripts.machine.report import MachineError
from scripts.machine.state import State

FAR_END = "uplink"
"""What the engine's end is called."""


def addresses(subnet: str) -> tuple[str, str]:
    """This machine's address on the link, and the engine's."""
    last = ipaddress.IPv4Network(subnet).broadcast_address
    return str(last - 2), str(last - 1)


def make(state: State, subnet: str, port: int, mtu: int) -> None:
    """Make the engine's namespace, from which the world is reached, and the registry that is here at `port`."""
    state.namespace.parent.mkdir(exist_ok=True)
    state.namespace.touch()
    held = run_quietly(["unshare", f"--net={state.namespace}", "true"])
    if held.returncode:
        raise MachineError(f"The engine can have no network of its own: {held.stderr.strip()}")
    near, (gateway, address) = near_end(state), addresses(subnet)
    here, there = NetworkNamespace(state.root), NetworkNamespace(state.root, state.namespace)
    size = ("mtu", str(mtu))
    here.demand("ip", "link", "add", near, *size, "type", "veth", "peer", "name", FAR_END, *size)
    here.demand("ip", "link", "set", FAR_END, "netns", f"/{state.namespace.relative_to(state.root)}")
    for namespace, end, own in ((here, near, gateway), (there, FAR_END, address)):
        namespace.demand("ip", "address", "add", f"{own}/30", "dev", end)
        namespace.demand("ip", "link", "set", end, "up")
        # Else an address of the loopback is taken for a forged one, on its way out as on its way in.
        namespace.configure(f"ipv4/conf/{end}/route_localnet", "1")
    there.demand("ip", "link", "set", "lo", "up")
    there.demand("ip", "route", "add", "default", "via", gateway)
    for rule in _rules_here(state, subnet, port):
        here.add_rule(rule)
    for rule in _rules_there(subnet, port):
        there.add_rule(rule)


def remove(state: State, subnet: str, port: int) -> None:
    """Take it all away; with the namespace go its end of the link and its rules."""
    here = NetworkNamespace(state.root)
    for rule in _rules_here(state, subnet, port):
        here.remove_rule(rule)
    here.run("ip", "link", "delete", near_end(state))
    if state.namespace.exists():
        run_quietly(["umount", state.namespace])
        state.namespace.unlink()


def near_end(state: State) -> str:
    """What this machine's end is called: no interface has a name of more than fifteen characters."""
    return f"{state.name}-up"


def _rules_here(state: State, subnet: str, port: int) -> Iterator[Rule]:
    gateway, address = addresses(subnet)
    yield from accept(address)
    yield Rule("nat", "POSTROUTING", "-A", ("-s", address, "!", "-d", gateway, "-j", "MASQUERADE"))
    words = ("-i", near_end(state), "-p", "tcp", "-d", gateway, "--dport", str(port))
    yield Rule("nat", "PREROUTING", "-I", (*words, "-j", "DNAT", "--to-destination", f"127.0.0.1:{port}"))


def _rules_there(subnet: str, port: int) -> Iterator[Rule]:
    gateway, _ = addresses(subnet)
    words = ("-p", "tcp", "-d", "127.0.0.1", "--dport", str(port))
    yield Rule("nat", "OUTPUT", "-I", (*words, "-j", "DNAT", "--to-destination", f"{gateway}:{port}"))
    yield Rule("nat", "POSTROUTING", "-A", ("-o", FAR_END, "-j", "MASQUERADE"))
