"""The Docker Engine: what runs containers, and builds where no other BuildKit is configured."""

from __future__ import annotations

import time

from flytebuild import engine
from flytebuild.config import Config
from flytebuild.doctor.check import Check, failed, ok, warning
from flytebuild.doctor.clock import examine_clock
from flytebuild.doctor.compression import examine_compression
from flytebuild.doctor.disk import examine_disk
from flytebuild.errors import EngineUnavailableError, FlytebuildError

_DEADLINE = 20.0


def examine_engine(config: Config) -> tuple[Check, ...]:
    """Its version, what it unpacks, disk and clock. Where another BuildKit builds, only runs need it."""
    from docker.errors import DockerException

    try:
        address = engine.locate()
        client = engine.connect(_DEADLINE)
        try:
            version, info = client.version(), client.info()
            asked = time.time()
            date = client.api.get(f"{client.api.base_url}/_ping", timeout=_DEADLINE).headers.get("Date")
            answered = time.time()
        except (DockerException, OSError) as error:
            raise EngineUnavailableError(f"The Docker Engine at `{address.shown}` does not answer: {error}") from error
        finally:
            client.close()
    except FlytebuildError as error:
        if config.builder:
            return (warning("engine", f"`flytebuild run` needs one: {error.message}", error.hint or ""),)
        return (failed("engine", error),)
    said = f"Docker {version['Version']} with API {version['ApiVersion']}, {version['Os']}/{version['Arch']}"
    return (
        ok("engine", f"{said}, at `{address.shown}`" if config.builder else said),
        *([examine_compression(config, version)] if config.registry else ()),
        examine_disk(address.url, info),
        examine_clock("engine's clock", date, asked, answered),
    )
