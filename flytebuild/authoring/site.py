"""Where in the user's code something was written, for errors that name the place."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

import flyte
from flyte._image import Layer
from msgspec import Struct

import flytebuild
from flytebuild.authoring.methods import method_of
from flytebuild.errors import UnsupportedImageError

_ORIGIN = "_flytebuild_origin"
_PYTHON_ORIGIN = "_flytebuild_python_origin"
_REFUSAL = "_flytebuild_refusal"
_MACHINERY = tuple(os.path.dirname(os.path.abspath(inspect.getfile(module))) + os.sep for module in (flyte, flytebuild))


class Site(Struct, frozen=True):
    """A layer's place: its environment, what it is (`pip layer`), and `file:line` where that is known."""

    environment: str
    layer: str = "image"
    origin: str = ""

    def at(self, layer: str, origin: str) -> Site:
        """The place of one layer of this image."""
        return Site(self.environment, layer, origin)

    def error(self, problem: str, *, hint: str | None = None) -> UnsupportedImageError:
        """The error that says `problem` about this place."""
        where = f" ({self.origin})" if self.origin else ""
        return UnsupportedImageError(
            f"The {self.layer} of environment `{self.environment}`{where}: {problem}", hint=hint
        )


@contextmanager
def recorded() -> Iterator[None]:
    """While this lasts, layers, images and environments note where the user's code made them.

    The SDK does not keep that. Every constructor and `with_` method ends in `Image.clone` or `Image._new`, and every
    environment is asked for its name by `Environment._validate_name`, so these are what we listen to; what they do is
    unchanged. Nothing around them is ours while they look for the user's file in the stack of calls.
    """
    clone, new = flyte.Image.__dict__["clone"], flyte.Image.__dict__["_new"]
    validate = flyte.Environment._validate_name
    signature = inspect.signature(clone)

    def noting_clone(self: flyte.Image, *args: Any, **kwargs: Any) -> flyte.Image:
        layer = kwargs.get("addl_layer")
        if layer is not None:
            _note(layer)
        try:
            image: flyte.Image = clone(self, *args, **kwargs)
        except ValueError as error:
            if layer is not None:
                setattr(error, _REFUSAL, _refusal(self, layer, error))
            raise
        asked = signature.bind(self, *args, **kwargs).arguments.get("python_version")
        place = _user_place(sys._getframe(1)) if asked else getattr(self, _PYTHON_ORIGIN, "")
        object.__setattr__(image, _PYTHON_ORIGIN, place)
        return image

    def noting_new(cls: type[flyte.Image], /, **kwargs: Any) -> flyte.Image:
        image: flyte.Image = new.__func__(cls, **kwargs)
        _note(image)
        return image

    def noting_validate(self: flyte.Environment) -> None:
        _note(self)
        validate(self)  # type: ignore[no-untyped-call]

    _replace(flyte.Image, "clone", noting_clone)
    _replace(flyte.Image, "_new", classmethod(noting_new))
    _replace(flyte.Environment, "_validate_name", noting_validate)
    try:
        yield
    finally:
        _replace(flyte.Image, "clone", clone)
        _replace(flyte.Image, "_new", new)
        _replace(flyte.Environment, "_validate_name", validate)


def record() -> None:
    """Do that from now on, for as long as this process lives: for code that somebody else imports."""
    if not _kept:
        _kept.append(recorded())
        _kept[0].__enter__()


_kept: list[AbstractContextManager[None]] = []


def origin_of(thing: object, here: str | None = None) -> str:
    """`file:line` where a layer, an image or an environment was written, or nothing; relative if below this folder.

    `here` is what `current_folder` says, for who asks for many.
    """
    return relative(getattr(thing, _ORIGIN, ""), here)


def current_folder() -> str:
    """How the paths of what is below the current folder begin; nothing where that folder is gone."""
    try:
        return os.path.join(os.getcwd(), "")
    except OSError:
        return ""


def relative(origin: str, here: str | None = None) -> str:
    """A place without the current folder, if it is below that."""
    return origin.removeprefix(current_folder() if here is None else here) if origin else ""


def python_origin_of(image: flyte.Image) -> str:
    """`file:line` where an image, or one that it was cloned from, was given another Python; nothing if it was not."""
    return relative(getattr(image, _PYTHON_ORIGIN, ""))


def refusal_of(error: BaseException) -> UnsupportedImageError | None:
    """Our words for an error that the SDK raised while this was recorded, since an image takes no layer."""
    found: UnsupportedImageError | None = getattr(error, _REFUSAL, None)
    return found


def _refusal(image: flyte.Image, layer: Layer, error: ValueError) -> UnsupportedImageError:
    if image.dockerfile:
        problem, hint = "layers cannot follow a Dockerfile", "write it into the Dockerfile"
    elif not image.extendable:
        problem, hint = "the image takes no layers", 'make it one that does: `.clone(name="…", extendable=True)`'
    else:
        problem, hint = str(error).partition(".")[0], 'give the image a name: `.clone(name="…")`'
    where = origin_of(layer)
    what = f"The `{method_of(layer)}` layer" + (f" ({where})" if where else "")
    return UnsupportedImageError(f"{what}: {problem}", hint=hint)


def _replace(owner: type, name: str, what: object) -> None:
    setattr(owner, name, what)


def _note(thing: object) -> None:
    if not hasattr(thing, _ORIGIN) and (place := _user_place(sys._getframe(1))):
        object.__setattr__(thing, _ORIGIN, place)


def _user_place(frame: FrameType | None) -> str:
    """File and line of the nearest caller outside the SDK and us. Code without a file counts as its caller."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_MACHINERY) and not file.startswith("<"):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
