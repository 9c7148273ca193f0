"""One network namespace, and the programs that work on it.

They are those of the engine's root: the host may have neither `ip` nor `iptables`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.machine.processes import Command, run_quietly
from scripts.machine.report import MachineError


@dataclass(frozen=True)
class Rule:
    """A rule of the firewall: its table and chain, how it is put in (`-I`, `-A`), and what it says."""

    table: str
    chain: str
    place: str
    words: tuple[str, ...]


def accept(network: str) -> Iterator[Rule]:
    """Rules that let a network out, and replies in."""
    yield Rule("filter", "FORWARD", "-I", ("-s", network, "-j", "ACCEPT"))
    replies = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED")
    yield Rule("filter", "FORWARD", "-I", ("-d", network, *replies, "-j", "ACCEPT"))


@dataclass(frozen=True)
class NetworkNamespace:
    """The one that `file` holds, or the host's; `root` has the programs."""

    root: Path
    file: Path | None = None

    @property
    def entry(self) -> Command:
        """What a command begins with that is to run in it."""
        return ["nsenter", f"--net={self.file}"] if self.file else []

    def demand(self, *command: str) -> str:
        """What a command says. Raises MachineError when it fails."""
        result = self.run(*command)
        if result.returncode:
            raise MachineError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
        return result.stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the root to its end, whatever that is."""
        return run_quietly([*self.entry, "chroot", self.root, *command])

    def list(self, *arguments: str) -> list[dict[str, Any]]:
        """What `ip` lists."""
        answer = json.loads(self.demand("ip", "-4", "-j", *arguments) or "[]")
        return [item for item in answer if item]

    def configure(self, setting: str, value: str) -> None:
        """Set one of the kernel's settings of networks."""
        write = ["sh", "-ec", 'echo "$2" >"/proc/sys/net/$1"', "sh", setting, value]
        result = run_quietly([*self.entry, *write])
        if result.returncode:
            raise MachineError(f"`{setting}` cannot be set: {result.stderr.strip()}")

    def add_rule(self, rule: Rule) -> None:
        self.demand("iptables", "-w", "-t", rule.table, rule.place, rule.chain, *rule.words)

    def remove_rule(self, rule: Rule) -> None:
        """Remove it, however often it is there."""
        while self.run("iptables", "-w", "-t", rule.table, "-D", rule.chain, *rule.words).returncode == 0:
            pass
