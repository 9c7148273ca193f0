"""The BuildKit that builds: which one, why that one, and what it can do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from flytebuild.amounts import size
from flytebuild.buildkit import inspection
from flytebuild.buildkit.address import Address, Secured, Through, locate_all
from flytebuild.buildkit.connection import Connection, Worker
from flytebuild.config import Config
from flytebuild.doctor.check import Check, failed, ok, unknown, warning
from flytebuild.engine import EngineAddress
from flytebuild.errors import EngineUnavailableError, FlytebuildError

NEEDED = frozenset(
    {
        "constraints",
        "diffop",
        "exec.meta.base",
        "exec.mount.bind",
        "exec.mount.bind.readwrite-nooutput",
        "exec.mount.cache",
        "exec.mount.cache.sharing",
        "exec.mount.secret",
        "exec.mount.selector",
        "exec.mount.tmpfs",
        "exec.secretenv",
        "file.base",
        "mergeop",
        "platform",
        "source.image",
        "source.local",
        "source.local.sharedkeyhint",
    }
)
"""The capabilities that our graphs make use of."""


def examine_builders(config: Config) -> tuple[Check, ...]:
    """Everything that each BuildKit is asked; of one that does not answer, that. Those of a fleet are numbered."""
    try:
        addresses = locate_all(config)
    except FlytebuildError as error:
        return (failed("builder", error),)
    with ThreadPoolExecutor(len(addresses)) as pool:
        examined = list(pool.map(lambda address: _examine(config, address), addresses))
    return examined[0] if len(examined) == 1 else _of_fleet(examined)


def _of_fleet(examined: Sequence[tuple[Check, ...]]) -> tuple[Check, ...]:
    is_alive = any(checks[0].status == "ok" for checks in examined)
    return tuple(
        replace(_spared(check) if is_alive else check, subject=f"{check.subject} {number}")
        for number, checks in enumerate(examined, 1)
        for check in checks
    )


def _spared(check: Check) -> Check:
    """One that does not answer ends no build as long as there is another."""
    if check.subject == "builder" and check.exit_code == EngineUnavailableError.exit_code:
        return warning("builder", f"The others build without it: {check.message}", check.hint)
    return check


def _examine(config: Config, address: Address) -> tuple[Check, ...]:
    try:
        with Connection.open(address) as connection:
            worker = connection.worker()
            return (
                ok("builder", _described(address)),
                _version(connection),
                _capabilities(connection),
                _platforms(config, worker),
                _store(config, address, worker),
                _cache(connection),
            )
    except FlytebuildError as error:
        return (failed("builder", error),)


def _described(address: Address) -> str:
    if isinstance(address, EngineAddress):
        return f"the one in the Docker Engine at `{address.shown}`, from {address.source}"
    match address.way:
        case Through():
            how = ", through a program"
        case Secured():
            how = ", by TLS"
        case _:
            how = ""
    return f"BuildKit at `{address.shown}`{how}, from {address.source}"


def _version(connection: Connection) -> Check:
    try:
        said = inspection.version(connection)
    except EngineUnavailableError as error:
        return unknown("buildkit", error.message)
    return ok("buildkit", said or "the engine's own, which does not say its version")


def _capabilities(connection: Connection) -> Check:
    try:
        found = inspection.capabilities(connection)
    except EngineUnavailableError as error:
        return unknown("capabilities", error.message)
    if missing := sorted(NEEDED - found):
        names = ", ".join(f"`{name}`" for name in missing)
        hint = "update it; flytebuild is tested with Docker Engine 26.1"
        return failed("capabilities", EngineUnavailableError(f"This BuildKit lacks {names}", hint=hint))
    return ok("capabilities", f"{len(found)}, with the {len(NEEDED)} that are needed")


def _platforms(config: Config, worker: Worker) -> Check:
    names = [str(platform) for platform in worker.platforms]
    # Levels of one processor's features are said once.
    shown = [name for name in names if name.rpartition("/")[0] not in names]
    if missing := [f"`{name}`" for name in config.platforms if name not in names]:
        architecture = missing[0].strip("`").split("/")[1]
        return warning(
            "platforms",
            f"images are to be built for {', '.join(missing)}, whose programs this BuildKit cannot run",
            f"`docker run --privileged --rm tonistiigi/binfmt --install {architecture}` lets an engine run them",
        )
    return ok("platforms", ", ".join(shown))


def _store(config: Config, address: Address, worker: Worker) -> Check:
    if not isinstance(address, EngineAddress):
        return ok("store", "images go to a registry only: this BuildKit is no Docker Engine")
    if worker.has_containerd_store:
        return ok("store", "containerd's")
    error = EngineUnavailableError(
        "This Docker Engine does not use the containerd image store, so that its BuildKit cannot push",
        hint='set `{"features": {"containerd-snapshotter": true}}` in its daemon.json and restart it',
    )
    if config.registry:
        return failed("store", error)
    return warning("store", error.message, error.hint or "")


def _cache(connection: Connection) -> Check:
    try:
        count, total = inspection.cache_usage(connection)
    except EngineUnavailableError as error:
        return unknown("build cache", error.message)
    return ok("build cache", f"{size(total)} in {count} records")
