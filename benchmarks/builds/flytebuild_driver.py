"""Builds a project's images with flytebuild's own pipeline; run as a script: `flytebuild_driver.py main.py`.

What `flytebuild build` does, without a command line, and with the time that it takes once everything is imported.
"""

import asyncio
import sys
import time
from pathlib import Path

from flytebuild import config, pipeline
from flytebuild.authoring.loader import load


def main() -> None:
    definitions = load([Path(sys.argv[1])])

    async def build() -> None:
        settings = config.load(Path.cwd())
        planned = await pipeline.plan_definitions(settings, definitions)
        await pipeline.build(settings, planned)

    began = time.perf_counter()
    asyncio.run(build())
    print(f"inner={time.perf_counter() - began}")


main()
