"""What the plug-ins need of the SDK, in one place: its types, its configuration, its image builder seam."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from os.path import islink
from pathlib import Path
from types import ModuleType
from typing import Any

import flyte
import flyte._image
import flyte.config
from flyte._build import ImageBuild
from flyte._code_bundle import _utils as _bundled
from flyte._code_bundle import bundle as _bundle
from flyte._environment import list_loaded_environments
from flyte._image import CodeBundleLayer, PixiScript
from flyte._initialize import _get_init_config
from flyte._secret import secrets_from_request
from flyte._utils import pixi_script_parser
from flyte.errors import ImageBuildError

BUILDER = "flytebuild"
"""The name under which our image builder is registered with the SDK."""

__all__ = [
    "BUILDER",
    "ImageBuild",
    "ImageBuildError",
    "ask_for_images",
    "configured_endpoint",
    "environment_of",
    "image_references",
    "keep_resolved_bundles",
    "leave_installed_out_of_bundles",
    "loaded_environments",
    "loaded_modules",
    "open_bundles",
    "pixi_manifest",
    "remember_bundles_only_where",
    "root_folder",
    "secrets_of",
    "set_storage_defaults",
    "uses_our_builder",
]


def uses_our_builder() -> bool:
    """Whether this process builds its images with flytebuild: as initialised, else as configured."""
    initialised = _get_init_config()
    builder = initialised.image_builder if initialised else flyte.config.auto().image.builder
    return builder == BUILDER


def environment_of(image: flyte.Image) -> flyte.Environment | None:
    """An environment that uses this image; the SDK tells its builder the image only."""
    return next((item for item in list_loaded_environments() if item.image is image), None)


def secrets_of(environment: flyte.Environment) -> list[flyte.Secret]:
    """The secrets that an environment's tasks ask for; a task may ask for others than its environment does."""
    tasks = getattr(environment, "tasks", {}).values()
    requests = [environment.secrets, *(task.secrets for task in tasks)]
    return [secret for request in requests if request for secret in secrets_from_request(request)]


def secret_name(secret: flyte.Secret) -> str:
    """What a secret is called where its value is looked for: the key, after its group if it has one."""
    return "_".join(filter(None, (secret.group, secret.key)))


def loaded_environments() -> list[flyte.Environment]:
    """The environments that this process has defined."""
    return list(list_loaded_environments())


def configured_endpoint() -> str | None:
    """The control plane of this process, `host:port`: as initialised, else as configured; None without one."""
    initialised = _get_init_config()
    endpoint = initialised.client.endpoint if initialised and initialised.client else None
    endpoint = endpoint or flyte.config.auto().platform.endpoint
    return endpoint.rpartition("/")[2] if endpoint else None


def set_storage_defaults(variables: Mapping[str, str]) -> None:
    """Let this process read the files of runs: set the SDK's storage variables that are not set yet."""
    for name, value in variables.items():
        if name.startswith(("FLYTE_AWS_", "AWS_")):
            os.environ.setdefault(name, value)


def image_references() -> Mapping[str, str]:
    """The images that Flyte's configuration gives names to, by name: as initialised, else as configured."""
    initialised = _get_init_config()
    references: Mapping[str, str] = initialised.images if initialised else flyte.config.auto().image.image_refs
    return references


def root_folder() -> Path:
    """Where the user's code starts, by the SDK: as initialised, else the current folder."""
    initialised = _get_init_config()
    return Path(initialised.root_dir) if initialised and initialised.root_dir else Path.cwd()


def loaded_modules(root: Path) -> list[Path]:
    """The files below `root` that the modules of this process came from: what a code bundle of that style holds."""
    return [Path(file) for file in _bundled.list_imported_modules_as_files(str(root), list(sys.modules.values()))]


def pixi_manifest(script: PixiScript) -> str:
    """The `pixi.toml` that a script comes to, by what is in the file now. Raises ValueError for what has none."""
    # The SDK remembers what it read by size and modification time, which an edit may keep.
    pixi_script_parser._parse_pixi_script_file.cache_clear()
    script.validate()  # type: ignore[no-untyped-call]
    return script.render_manifest()


def remember_bundles_only_where(is_there: Callable[[str], bool]) -> None:
    """Let the SDK use code that it remembers to have uploaded only where `is_there` finds it, given its URI.

    Its memory (a database in `local-cache`, on this machine) knows an address and not a store: it outlives the store
    behind the address, and would go on naming what is gone. What is not there is uploaded again, and remembered again.
    """
    look_up = _bundle._read_bundle_cache

    def look_up_and_verify(digest: str) -> tuple[str, str] | None:
        found: tuple[str, str] | None = look_up(digest)
        return found if found is not None and is_there(found[1]) else None

    _bundle._read_bundle_cache = look_up_and_verify


def leave_installed_out_of_bundles() -> None:
    """Let bundles of loaded modules pass over what is installed without asking the disk for each module's real path.

    The SDK resolves a dozen paths for each of a thousand modules, to find that nearly all lie where packages are
    installed; that takes it longer than everything that is ours. Here a folder is resolved once. What is not installed
    is left to the SDK.
    """
    look = _bundled.list_imported_modules_as_files

    def look_at_others(source_path: str, modules: list[ModuleType]) -> list[str]:
        installed = tuple(os.path.join(os.path.realpath(item), "") for item in _bundled._build_invalid_directories())
        real = cache(os.path.realpath)

        def is_installed(module: ModuleType) -> bool:
            file = _file_of(module)
            # A link may lead out of there.
            return file is not None and f"{real(os.path.dirname(file))}/".startswith(installed) and not islink(file)

        return look(source_path, [module for module in modules if not is_installed(module)])

    _bundled.list_imported_modules_as_files = look_at_others


def _file_of(module: ModuleType) -> str | None:
    """The file that a module came from, for one that knows; what is only loaded when it is asked stays so."""
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return None
    return file if isinstance(file, str) else None


def open_bundles(image: object) -> list[CodeBundleLayer]:
    """The layers of an image that bring code along or not, as the copy style of a run will say."""
    layers = image._layers if isinstance(image, flyte.Image) else ()
    return [layer for layer in layers if isinstance(layer, CodeBundleLayer) and layer.root_dir is None]


def ask_for_images(answer: Callable[[flyte.Image], Awaitable[str | None]]) -> None:
    """Have the SDK ask `answer` for the references of images that runs and deployments need, and look for none itself.

    It would read all of their files, twice, for a tag that names nothing of ours, and say that it finds no image before
    it asks the builder. Where the answer is None it does so all the same.
    """
    from flyte import _deploy

    build = _deploy._build_image_bg

    async def answer_or_build(name: str, image: flyte.Image) -> tuple[str, str, Any]:
        reference = await answer(image)
        return (name, reference, None) if reference else await build(name, image)

    _deploy._build_image_bg = answer_or_build  # type: ignore[assignment]


def keep_resolved_bundles() -> None:
    """Let images keep the code that a run without a bundle of its own (`copy_style="none"`) has decided to put there.

    The SDK decides it once by that style and once more, in the same run, by its default, which takes the code away
    again: the container would have none at all.
    """
    resolve = flyte._image.resolve_code_bundle_layer

    def resolve_once(image: flyte.Image, copy_style: str, root_dir: Path) -> flyte.Image:
        bundles = [layer for layer in image._layers if isinstance(layer, CodeBundleLayer)]
        if copy_style != "none" and bundles and all(layer.root_dir for layer in bundles) and uses_our_builder():
            return image
        return resolve(image, copy_style, root_dir)

    flyte._image.resolve_code_bundle_layer = resolve_once
