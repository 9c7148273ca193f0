"""Distributions by the modules that they bring, and what they need: by the metadata of what this machine has.

https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from flytebuild.spec.requirement import Requirement, normal_name, parse

_KNOWN = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "github": "pygithub",
    "hydra": "hydra-core",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "nacl": "pynacl",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "umap": "umap-learn",
    "websocket": "websocket-client",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Modules that are called other than what brings them, for machines that have neither."""

_NAMESPACES = {"flyteplugins": 2, "google.cloud": 3}
"""Namespaces whose distributions are called as so many of a module's names: `flyteplugins-ray`."""

_LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}

_OPEN = re.compile(r"\bextras?\b|python|implementation|platform_(?:machine|release|version)")
"""Variables of markers whose values depend on more than the system."""

_VARIANTS = re.compile(r"-(?:headless|binary|cpu|gpu|nightly|contrib|contrib-headless)$")


def stem(name: str) -> str:
    """What variants of one distribution have in common: `opencv-python` of `opencv-python-headless`."""
    return _VARIANTS.sub("", name)


def providers(module: str) -> frozenset[str]:
    """The distributions that bring a module, by its whole name; nothing where that is not known."""
    top = module.partition(".")[0]
    found = frozenset(map(normal_name, _by_module().get(top, ())))
    if len(found) > 1:
        # A namespace, such as `google`: whose files are there decides.
        return frozenset(name for name in found if _has(name, module)) or _by_namespace(module) or found
    if found:
        return found
    return frozenset({_KNOWN[top]}) if top in _KNOWN else _by_namespace(module)


def _by_namespace(module: str) -> frozenset[str]:
    """The distribution that a module of a namespace belongs to by its name."""
    for namespace, count in _NAMESPACES.items():
        names = module.split(".")[:count]
        if len(names) == count and module.startswith(f"{namespace}."):
            return frozenset({normal_name("-".join(names))})
    return frozenset()


def closure(requirements: Mapping[str, frozenset[str]]) -> tuple[frozenset[str], frozenset[str]]:
    """All distributions that come with some on Linux, and those of them whose own needs are not known here.

    What only another Python needs may come along, too: which one the image has is not asked.
    """
    found: dict[str, frozenset[str]] = {}
    unknown: set[str] = set()
    pending = list(requirements.items())
    while pending:
        name, extras = pending.pop()
        if name in found and extras <= found[name]:
            continue
        extras = found[name] = found.get(name, frozenset()) | extras
        needs = _needs(name)
        if needs is None:
            unknown.add(name)
            continue
        for need in needs:
            if _is_needed(need, extras):
                pending.append((need.name, frozenset(need.extras)))
            elif "python" in need.marker and "extra" not in need.marker:
                found.setdefault(need.name, frozenset())
    return frozenset(found), frozenset(unknown)


def applies(marker: str) -> bool:
    """Whether what has a marker may be installed on Linux; what only another Python or machine needs may be, too."""
    if not marker or _OPEN.search(marker):
        return True
    from packaging.markers import Marker

    return Marker(marker).evaluate(_LINUX)


def is_here(name: str) -> bool:
    """Whether this machine has a distribution, and so knows what is in it."""
    return _needs(name) is not None


def _is_needed(need: Requirement, extras: frozenset[str]) -> bool:
    if not need.marker:
        return True
    from packaging.markers import Marker

    marker = Marker(need.marker)
    return any(marker.evaluate({**_LINUX, "extra": extra}) for extra in ("", *extras))


@cache
def _needs(name: str) -> tuple[Requirement, ...] | None:
    from importlib import metadata

    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return None
    return tuple(filter(None, map(parse, texts)))


@cache
def _by_module() -> Mapping[str, list[str]]:
    # Loaded here: what a definition names itself is found without it.
    from importlib import metadata

    return metadata.packages_distributions()


@cache
def _has(name: str, module: str) -> bool:
    from importlib import metadata

    path = module.replace(".", "/")
    files = metadata.files(name) or []
    return any(str(file).startswith((f"{path}/", f"{path}.")) for file in files)
