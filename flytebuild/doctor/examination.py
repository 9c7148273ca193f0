"""All checks, made at the same time."""

from __future__ import annotations

import asyncio

from flytebuild.config import Config
from flytebuild.doctor.builder import examine_builders
from flytebuild.doctor.check import Check
from flytebuild.doctor.engine import examine_engine
from flytebuild.doctor.machine import examine_machine
from flytebuild.doctor.registry import examine_registry
from flytebuild.threads import in_thread


async def examine(config: Config) -> tuple[Check, ...]:
    """Look at the builder, the engine, the registry and this machine; each with deadlines of its own."""
    # Its modules import each other: two threads that begin at different ones would each find the half of it.
    import docker  # noqa: F401

    builder, engine, registry, machine = await asyncio.gather(
        in_thread(lambda: examine_builders(config), "flytebuild-builder"),
        in_thread(lambda: examine_engine(config), "flytebuild-engine"),
        examine_registry(config),
        in_thread(lambda: examine_machine(config), "flytebuild-machine"),
    )
    if not config.builder and builder[0].status == engine[0].status == "failed":
        # It is one and the same.
        engine = ()
    return (*builder, *engine, *registry, *machine)
