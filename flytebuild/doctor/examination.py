"""All checks, made at the same time."""

from __future__ import annotations

import asyncio

from flytebuild.config import Config
from flytebuild.doctor.builder import examine_builder
from flytebuild.doctor.check import Check
from flytebuild.doctor.engine import examine_engine
from flytebuild.doctor.machine import examine_machine
from flytebuild.doctor.registry import examine_registry


async def examine(config: Config) -> tuple[Check, ...]:
    """Look at the builder, the engine, the registry and this machine; each with deadlines of its own."""
    # Its modules import each other: two threads that begin at different ones would each find the half of it.
    import docker  # noqa: F401

    builder, engine, registry, machine = await asyncio.gather(
        asyncio.to_thread(examine_builder, config),
        asyncio.to_thread(examine_engine, config),
        examine_registry(config),
        asyncio.to_thread(examine_machine, config),
    )
    if not config.builder and builder[0].status == engine[0].status == "failed":
        # It is one and the same.
        engine = ()
    return (*builder, *engine, *registry, *machine)
