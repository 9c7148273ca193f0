"""Builds a project's images with flyte's own local builder; run as a script: `flyte_driver.py main.py`.

What is measured is flyte's code as it is, with one line of its Dockerfile left out: `# syntax=docker/dockerfile:1.10`
names a frontend in a registry that may be out of reach, and the engine's own frontend understands the rest.
"""

import asyncio
import importlib.util
import sys
import time
from pathlib import Path

import flyte
from flyte._environment import list_loaded_environments
from flyte._internal.imagebuild import docker_builder


def main() -> None:
    template = docker_builder.DOCKER_FILE_UV_BASE_TEMPLATE
    lines = template.template.splitlines(keepends=True)
    docker_builder.DOCKER_FILE_UV_BASE_TEMPLATE = type(template)(
        "".join(line for line in lines if not line.startswith("# syntax="))
    )
    file = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(file.parent))
    found = importlib.util.spec_from_file_location("main", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["main"] = module
    found.loader.exec_module(module)
    flyte.init(image_builder="local", root_dir=file.parent)

    async def build() -> None:
        # The way in which `flyte run` and `flyte deploy` ask for the images of a workflow.
        images = [item.image for item in list_loaded_environments() if isinstance(item.image, flyte.Image)]
        await asyncio.gather(*(flyte.build.aio(image) for image in images))

    began = time.perf_counter()
    asyncio.run(build())
    print(f"inner={time.perf_counter() - began}")


main()
