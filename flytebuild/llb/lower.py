"""From an image spec to LLB: how we get what the user asked for.

Each kind of layer has one function here; a change of what it emits raises the kind's number in
`flytebuild.spec.model.EMITTERS`. Steps that use the network find the host's CA bundle and package index in the
session: as secrets they are part of no layer and no cache key, and hosts without them emit the same bytes.
"""

from __future__ import annotations

import shlex

from flytebuild.llb.file import copy
from flytebuild.llb.run import CacheMount, SecretFile, SecretVariable, run
from flytebuild.llb.source import image
from flytebuild.llb.state import State
from flytebuild.spec.model import ImageSpec, LayerSpec, PipPackages, Platform, ResolvedImage, RuntimeConfig, Uv, Venv

CA_BUNDLE = "flytebuild.ca-bundle"
"""The session's secret with the PEM bundle that steps trust."""

CA_PATH = "/run/flytebuild-ca.crt"
"""Right below a folder that images have: BuildKit removes a mount's own stub after the step, not folders above it."""

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
CA_PATH_SECRET = "flytebuild.ca-path"  # noqa: S105 - the name of a secret
"""The session's secret that holds CA_PATH, where there is a bundle."""

INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
"""Package index settings of the host that steps are given; the secret's id is the name."""

_TRUST = SecretFile(CA_PATH, CA_BUNDLE)
_NETWORK = (
    *(SecretVariable(name, CA_PATH_SECRET) for name in CA_VARIABLES),
    *(SecretVariable(name, name) for name in INDEX_VARIABLES),
)
_UV_CACHE = CacheMount("/root/.cache/uv", "flytebuild-uv", "shared")


def lower(spec: ImageSpec) -> State:
    """The file system of an image. The spec must be resolved: an image without a digest cannot be a source."""
    state = _source(spec.base, spec.platform, "base")
    for step in spec.steps:
        state = _layer(state, step.layer, step.context, spec.platform)
    return state


def _layer(state: State, layer: LayerSpec, context: RuntimeConfig, platform: Platform) -> State:
    match layer:
        case Uv(image=uv):
            binary = _source(uv, platform, "uv")
            return copy(state, binary, "/uv", "/usr/bin/uv", platform, name=layer.summary)
        case Venv():
            return _run(state, ("/bin/sh", "-c", _venv_script(layer)), context, platform, layer.summary)
        case PipPackages():
            return _run(state, _pip_command(layer), context, platform, layer.summary)


def _source(resolved: ResolvedImage, platform: Platform, role: str) -> State:
    if resolved.digest is None:
        raise ValueError(f"{resolved.reference} is not resolved")
    name = resolved.location.partition("@")[0]
    host, slash, path = name.rpartition("/")
    repository = host + slash + path.partition(":")[0]
    return image(f"{repository}@{resolved.digest}", platform, name=f"{role} {resolved.reference}")


def _run(state: State, args: tuple[str, ...], context: RuntimeConfig, platform: Platform, name: str) -> State:
    return run(state, args, context, platform, name=name, caches=(_UV_CACHE,), files=(_TRUST,), variables=_NETWORK)


def _venv_script(layer: Venv) -> str:
    python = f"{layer.path}/bin/python"
    return f"test -x {python} || uv venv --python={layer.python} {layer.path}"


def _pip_command(layer: PipPackages) -> tuple[str, ...]:
    """An argument list; a shell's command line only where the user wrote shell text."""
    args = ["uv", "pip", "install", "--python", f"{Venv.__dataclass_fields__['path'].default}/bin/python"]
    if layer.index_url:
        args += ["--index-url", layer.index_url]
    for url in layer.extra_index_urls:
        args += ["--extra-index-url", url]
    if layer.pre:
        args.append("--pre")
    if layer.extra_args:
        return ("/bin/sh", "-c", f"{shlex.join(args)} {layer.extra_args} {shlex.join(layer.requirements)}")
    return (*args, *layer.requirements)
