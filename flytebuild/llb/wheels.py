"""Wheel layers: what installing wheels adds to an empty virtual environment, apart from any image.

They are installed by an image of their own, into the same folder as in the images that have the layer, since scripts
and bytecode hold its name. A `diff` takes what came of it, and a `merge` puts that on top of an image: neither unpacks
anything, and the same layer is one vertex in the graphs of all images. The step has no network: BuildKit fetches the
wheels and checks their digests, and uv checks them once more.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from flytebuild.inside import text_of
from flytebuild.llb.file import FIXED_TIME, make_file
from flytebuild.llb.merge import diff
from flytebuild.llb.run import BindMount, TmpfsMount, run
from flytebuild.llb.source import download, image, is_download, pinned
from flytebuild.llb.state import State
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers.pin import Pin
from flytebuild.spec.layers.wheel_layer import WheelLayer

_ROOM = "/mnt"
"""Where everything is that is of no use afterwards: a folder that Debian's images have, so that no trace is left."""

_WHEELS = f"{_ROOM}/wheels"
_PINS = f"{_ROOM}/pins.txt"
_PROGRAM = f"{_ROOM}/reproducible.py"
_CONTEXT = RuntimeConfig(
    env=(
        ("HOME", _ROOM),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        # As in the steps of images (`flytebuild.llb.step`).
        ("PYC_INVALIDATION_MODE", "UNCHECKED_HASH"),
        # The order of sets is part of bytecode.
        ("PYTHONHASHSEED", "0"),
    ),
    user="root",
)

_QUIET = ("--quiet", "--no-config", "--offline", "--no-python-downloads")


def wheel_layer(layer: WheelLayer) -> State:
    """The layer alone."""
    empty = _step(
        _tool(layer),
        layer,
        posixpath.dirname(layer.folder),
        ("uv", "venv", *_QUIET, "--python", layer.python, layer.folder),
        name=f"an empty virtual environment for Python {layer.python}",
    )
    install = (
        *("uv", "pip", "install", *_QUIET, "--no-cache", "--no-index", "--find-links", _WHEELS, "--no-deps"),
        *("--require-hashes", "--link-mode", "hardlink", "--compile-bytecode"),
        *("--python", f"{layer.folder}/bin/python", "--requirement", _PINS),
    )
    pins = make_file(None, "/pins.txt", _text(layer.pins).encode(), layer.platform, name=f"pins of {layer.summary}")
    binds = (BindMount(_PINS, pins, "/pins.txt", is_known=True), *map(_wheel, layer.pins))
    full = _step(empty, layer, layer.folder, install, name=layer.step, binds=binds)
    return diff(empty, full, name=f"layer of {layer.summary}")


def ground_of(layer: State) -> State:
    """What a layer is made on: for wheel layers the empty virtual environment, the same for all of one Python."""
    return layer.vertex.inputs[0]


def only_wheel(layer: State) -> State | None:
    """The file that a wheel layer is made of; None where it is made of several, or the layer is no wheel layer."""
    wheels = [item for made in layer.vertex.inputs[1:] for item in made.vertex.inputs if is_download(item)]
    return wheels[0] if len(wheels) == 1 else None


def _step(
    state: State,
    layer: WheelLayer,
    folder: str,
    arguments: Sequence[str],
    *,
    name: str,
    binds: Sequence[BindMount] = (),
) -> State:
    """What a command leaves in `folder`, the same whenever it is executed."""
    # A file, since arguments are in the history of every image that has the layer.
    file = posixpath.basename(_PROGRAM)
    text = text_of("reproducible").encode()
    program = make_file(None, f"/{file}", text, layer.platform, name="the program that makes wheel layers")
    # Python keeps bytecode of its own library beside that, which must not be in the layer.
    library = BindMount("/usr", _tool(layer), "/usr", is_known=True)
    return run(
        state,
        ("python3", "-I", "-S", _PROGRAM, str(FIXED_TIME), folder, *arguments),
        _CONTEXT,
        layer.platform,
        name=name,
        binds=(library, BindMount(_PROGRAM, program, f"/{file}", is_known=True), *binds),
        tmpfs=(TmpfsMount(_ROOM),),
        has_network=False,
    )


def _tool(layer: WheelLayer) -> State:
    return image(pinned(layer.tool), layer.platform, name=f"uv and Python {layer.python}")


def _wheel(pin: Pin) -> BindMount:
    file = download(pin.url, pin.sha256, pin.filename, name=f"download {pin.filename}")
    return BindMount(f"{_WHEELS}/{pin.filename}", file, f"/{pin.filename}", is_known=True)


def _text(pins: Sequence[Pin]) -> str:
    return "".join(f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n" for pin in pins)
