"""The process that `flytebuild up` starts; its settings come as arguments. By hand: `python -m flytebuild.runtime`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from types import MappingProxyType

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError, FlytebuildError
from flytebuild.runtime.server import serve


def settings(arguments: list[str] | None = None) -> Config:
    """The settings that the arguments give; `process.command` writes them."""
    parser = argparse.ArgumentParser(prog="python -m flytebuild.runtime", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the data folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--contact-timeout", type=int, default=Config().contact_timeout, metavar="SECONDS")
    parser.add_argument("--storage", metavar="s3://BUCKET/PREFIX")
    parser.add_argument("--storage-endpoint", metavar="URL")
    parser.add_argument("--storage-region", default=Config().storage_region)
    parser.add_argument("--mirror", action="append", default=[], metavar="FROM=TO")
    parser.add_argument("--ca-bundle", type=Path)
    parser.add_argument("--warm", action="store_true")
    given = parser.parse_args(arguments)
    mirrors = MappingProxyType(dict(item.split("=", 1) for item in given.mirror))
    return Config(
        home=given.home,
        port=given.port,
        mirrors=mirrors,
        ca_bundle=given.ca_bundle,
        contact_timeout=given.contact_timeout,
        warm=given.warm,
        storage=given.storage,
        storage_endpoint=given.storage_endpoint,
        storage_region=given.storage_region,
    )


def main() -> int:
    """Serve; the exit code and the last line on stderr say what went wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "urllib3", "docker", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Docker's SDK keeps ten connections and says so for every one above; each running container holds one.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    config = settings()
    # Whoever started us may want to remove the folder that they are in.
    os.chdir("/")
    try:
        asyncio.run(serve(config))
    except FlytebuildError as error:
        return _tell(error)
    except Exception as error:
        logging.getLogger(__name__).exception("the control plane failed")
        return _tell(ControlPlaneError(f"The control plane failed: {type(error).__name__}: {error}"))
    return 0


def _tell(error: FlytebuildError) -> int:
    """Write an error where `process.not_started` finds it; its exit code."""
    hint = f"\nhint: {error.hint}" if error.hint else ""
    sys.stderr.write(f"error: {error.message}{hint}\n")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
