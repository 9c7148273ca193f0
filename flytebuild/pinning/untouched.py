"""Which images are made without their base's files: nobody has to fetch these, however often the base moves. Pure.

That takes a base with all that images begin with (`flytebuild.wheels.readiness`), and nothing that is executed on it,
or copied onto it, by the image itself. Where a step has to see all files, putting layers on top of a base beforehand
would only mean that they are linked once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from flytebuild.llb.outline import Place
from flytebuild.llb.tail import is_apart, tail_of
from flytebuild.spec.layers import AptPackages, Binary, Folder, LayerSpec, Pinned, PipPackages, Venv
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.prefix import VENV
from flytebuild.spec.step import Step
from flytebuild.wheels.lock import Specs


def with_bases_untouched(specs: Specs, ready: Mapping[str, bool]) -> Specs:
    """The specs, uv being a layer of its own where that makes a difference, and the base's environment the image's.

    `ready` says of bases, by their digests, whether they are; of others nothing is known.
    """
    return {
        name: {platform: _untouched(spec) if _is_ready(spec, ready) else spec for platform, spec in variants.items()}
        for name, variants in specs.items()
    }


def _is_ready(spec: ImageSpec, ready: Mapping[str, bool]) -> bool:
    return spec.base is not None and ready.get(spec.base.digest or "", False)


def _untouched(spec: ImageSpec) -> ImageSpec:
    match [step.layer for step in spec.steps]:
        case [Binary() as uv, Venv(), *layers] if _looks_nowhere(uv, layers):
            alone = replace(uv, is_apart=True)
            return replace(spec, steps=(Step(alone, spec.steps[0].context), *spec.steps[2:]))
        case _:
            return spec


def _looks_nowhere(uv: Binary, layers: Sequence[LayerSpec]) -> bool:
    """Whether what lies on uv needs no file of the image that these layers are put on."""
    start = tail_of([replace(uv, is_apart=True), *layers]) - 1
    return all(_is_put_on_top(uv, layer) for layer in layers[:start])


def _is_put_on_top(uv: Binary, layer: LayerSpec) -> bool:
    match layer:
        case Pinned(pins=pins, layers=made):
            return bool(made) or not pins
        case PipPackages(requirements=(), options=options):
            return not options.extra_args
        case AptPackages(packages=()):
            return True
        case Folder(path=path):
            return all(is_apart(Place(path), place) for place in (VENV, uv.path))
        case _:
            return False
