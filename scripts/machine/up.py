"""Bring up what is missing, and say how to reach it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from scripts.machine import bases, debian, engine, registry
from scripts.machine.discovery import find_engine
from scripts.machine.docker_api import Address
from scripts.machine.processes import Children
from scripts.machine.report import MachineError, say
from scripts.machine.state import Record, State, locked, remove_tree

INSTALL_DOCKER = "install Docker (https://docs.docker.com/engine/install/) and start it, or set `DOCKER_HOST`"


@dataclass(frozen=True)
class Machine:
    """How to reach what is up, and what this command did for it.

    `registry` is where images are pushed to; `mirrors` is what stands in for public registries.
    """

    engine: Address
    registry: str | None
    mirrors: dict[str, str]
    started: tuple[str, ...]


def up(state: State, *, reuse: bool = True, flyte_version: str | None = None) -> Machine:
    """Bring up an engine, a registry and the bases, each only where it is missing."""
    theirs = find_engine(os.environ, Path.home(), own_host=state.engine_host) if reuse else None
    with locked(state):
        job = _Up(state, flyte_version)
        if engine.is_running(state, job.record) and not os.environ.get("DOCKER_HOST"):
            theirs = None
        steps: list[Callable[[], None]] = []
        if theirs is None:
            steps.append(job.bring_engine)
        if debian.has_archive() and (theirs is None or theirs.is_local()):
            steps.append(job.bring_registry_and_bases)
        job.run_together(steps)
        return job.describe(theirs or Address(state.engine_host))


class _Up:
    """One `up`: its steps run side by side, and a failure or an interrupt of one ends all."""

    def __init__(self, state: State, flyte_version: str | None) -> None:
        self.state = state
        self.record = Record.load(state)
        self.flyte_version = flyte_version
        self.children = Children()
        self.started: list[str] = []
        self.has_bases = False
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
        if engine.is_running(self.state, self.record):
            return
        if reason := debian.why_no_roots():
            raise MachineError(f"No Docker Engine answers, and none can be set up here: {reason}", hint=INSTALL_DOCKER)
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
        tag = bases.flyte_tag(self.flyte_version)
        if not bases.are_there(port, tag):
            if bases.is_registry_reachable():
                return
            if reason := debian.why_no_roots():
                say("bases", f"{bases.MIRRORED} cannot be reached and no bases can be made: {reason}")
                return
            debian.fetch_tools(self.state, self.children)
            bases.make(self.state, port, tag, self.children)
            self.started.append("bases")
        self.has_bases = True

    def describe(self, address: Address) -> Machine:
        port = self.record.registry_port if registry.is_running(self.record) else None
        host = f"127.0.0.1:{port}"
        return Machine(
            engine=address,
            registry=f"{host}/flytebuild" if port else None,
            mirrors={bases.MIRRORED: f"{host}/{bases.MIRRORED}"} if self.has_bases else {},
            started=tuple(self.started),
        )
