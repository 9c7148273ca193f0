"""Bring up what is missing, and say how to reach it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from scripts.machine import bases, catalogue, debian, emulation, engine, registry
from scripts.machine.bases import is_reachable
from scripts.machine.discovery import find_engine
from scripts.machine.docker_api import Address
from scripts.machine.processes import Children
from scripts.machine.report import MachineError, say
from scripts.machine.state import Record, State, locked, remove_tree

INSTALL_DOCKER = "install Docker (https://docs.docker.com/engine/install/) and start it, or set `DOCKER_HOST`"


@dataclass(frozen=True)
class Machine:
    """How to reach what is up, and what this command did for it.

    `registry` is where images are pushed to; `mirrors` is what stands in for public registries; `platforms` is what
    the engine runs, this machine's own first.
    """

    engine: Address
    registry: str | None
    mirrors: dict[str, str]
    platforms: tuple[str, ...]
    started: tuple[str, ...]


def up(
    state: State,
    *,
    reuse: bool = True,
    wanted: str = catalogue.NEEDED,
    flyte_version: str | None = None,
    beside: State | None = None,
    apart: bool = False,
) -> Machine:
    """Bring up an engine, a registry and the bases that are wanted, each only where it is missing.

    With `all` bases, which are of two architectures, our engine comes to run both. `beside` another machine there is
    an engine alone, which has that machine's registry; `apart` from it, it is on a network of its own, as that of
    another host would be.
    """
    theirs = find_engine(os.environ, Path.home(), own_host=state.engine_host) if reuse else None
    with locked(state):
        job = _Up(state, wanted, flyte_version, beside)
        if apart and beside:
            job.record.linked_port = Record.load(beside).registry_port
        if engine.is_running(state, job.record) and not os.environ.get("DOCKER_HOST"):
            theirs = None
        steps: list[Callable[[], None]] = []
        if theirs is None:
            steps.append(job.bring_engine)
        if beside is None and debian.has_archive() and (theirs is None or theirs.is_local()):
            steps.append(job.bring_registry_and_bases)
        job.run_together(steps)
        return job.describe(theirs or Address(state.engine_host))


class _Up:
    """One `up`: its steps run side by side, and a failure or an interrupt of one ends all."""

    def __init__(self, state: State, wanted: str, flyte_version: str | None, beside: State | None) -> None:
        self.state = state
        self.record = Record.load(state)
        self.wanted = wanted
        self.flyte_version = flyte_version
        self.beside = beside
        self.children = Children()
        self.started: list[str] = []
        self.mirrors: dict[str, str] = {}
        state.logs.mkdir(exist_ok=True)

    def run_together(self, steps: list[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(steps))) as pool:
            try:
                jobs = [pool.submit(step) for step in steps]
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
            except BaseException:
                self.children.cancel()
                raise
            finally:
                pool.shutdown()
                if self.state.scratch.exists():
                    remove_tree(self.state.scratch)

    def bring_engine(self) -> None:
        if not engine.is_running(self.state, self.record):
            self._start_engine()
        is_wanted = (
            self.beside is None and self.wanted == catalogue.ALL and not emulation.is_there(self.state, self.record)
        )
        if is_wanted and emulation.bring(self.state, self.record, self.children):
            self.started.append("emulation")

    def _start_engine(self) -> None:
        if reason := debian.why_no_roots():
            raise MachineError(f"No Docker Engine answers, and none can be set up here: {reason}", hint=INSTALL_DOCKER)
        if self.beside and self.beside.root.is_dir():
            engine.copy_root(self.beside, self.state, self.children)
        else:
            debian.fetch_tools(self.state, self.children)
            engine.make_root(self.state, self.children)
        engine.start(self.state, self.record, self.children)
        self.started.append("engine")

    def bring_registry_and_bases(self) -> None:
        if not registry.is_running(self.record):
            debian.fetch_tools(self.state, self.children)
            registry.start(self.state, self.record, self.children)
            self.started.append("registry")
        port = self.record.registry_port
        assert port is not None
        wanted = catalogue.select(self.wanted, self.flyte_version)
        missing = bases.missing(port, wanted)
        # What can be had from a public registry is neither made nor mirrored.
        reachable = {name for name in {base.registry for base in missing if base.is_published} if is_reachable(name)}
        wanted, missing = (
            tuple(base for base in given if not (base.is_published and base.registry in reachable))
            for given in (wanted, missing)
        )
        if missing:
            if reason := debian.why_no_roots():
                say("bases", f"{missing[0].registry} cannot be reached and no bases can be made: {reason}")
                return
            debian.fetch_tools(self.state, self.children)
            bases.make(self.state, port, missing, self.children)
            self.started.append("bases")
        self.mirrors = bases.mirrors(port, wanted)

    def describe(self, address: Address) -> Machine:
        record = Record.load(self.beside) if self.beside else self.record
        port = record.registry_port if registry.is_running(record) else None
        host = f"127.0.0.1:{port}"
        return Machine(
            engine=address,
            registry=f"{host}/flytebuild" if port else None,
            mirrors=self.mirrors,
            platforms=self._platforms(address),
            started=tuple(self.started),
        )

    def _platforms(self, address: Address) -> tuple[str, ...]:
        own = str(address.call("GET", "/version")[1]["Arch"])
        if address.host == self.state.engine_host:
            runs_both = emulation.is_there(self.state, self.record)
        else:
            runs_both = address.is_local() and emulation.is_on_host()
        names = (own, debian.other_architecture()) if runs_both else (own,)
        return tuple(f"linux/{name}" for name in names)
