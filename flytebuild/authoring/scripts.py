"""Scripts that declare their dependencies in themselves (PEP 723).

https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import tomli
from msgspec import Struct
from msgspec.structs import replace

from flytebuild.authoring import credentials
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.requirements import local_path
from flytebuild.authoring.site import Site
from flytebuild.spec.layers import PipOptions
from flytebuild.spec.requirement import normal_name

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$")
"""The expression of the standard, but for names; it allows no blanks at the ends of the lines that are the marks."""

_HINT = "declare the script's dependencies as PEP 723 describes"
_INDEX_KEYS = {"name", "url", "default"}

_IN_IMAGES = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "extra": "",
}
"""What markers find in every image."""

_IN_EACH_IMAGE = re.compile(
    r"\b(python_full_version|implementation_version|platform_machine|platform_release|platform_version)\b"
)
"""What they find in an image, and nobody knows before."""

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")

_LOCAL = re.compile(
    r"(?:(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[(?P<extras>[^]]*)\])?\s*@\s*)?"
    r"(?P<url>file:.*?)(?:\s+;(?P<marker>.*))?",
    re.IGNORECASE,
)
"""A requirement by a `file:` URL, in which blanks need not be encoded; its name may be missing, as with Flyte."""

_REPOSITORY = re.compile(r"\+file:", re.IGNORECASE)


class LocalProject(Struct, frozen=True):
    """What a script depends on that is on this machine, a project's folder or a wheel, and the extras that it wants."""

    path: Path
    name: str = ""
    extras: tuple[str, ...] = ()


def metadata(script: Path, files: HostFiles, site: Site) -> Mapping[str, Any]:
    """The table of a script's `# /// script` block.

    Raises UnsupportedImageError where the script is missing, or has no such block, two of them, or a malformed one.
    """
    text = files.text(script, site).removeprefix("\ufeff")
    blocks = [match["content"] for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if len(blocks) != 1:
        count = "no" if not blocks else "more than one"
        raise site.error(
            f"`{script}` has {count} `# /// script` block",
            hint=_HINT,
        )
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines())
    source = "\n".join(lines)
    if credentials.find(source):
        raise site.error(f"`{script}` has a URL with credentials", hint=credentials.CREDENTIALS_HINT)
    try:
        header = tomli.loads(source)
    except tomli.TOMLDecodeError as error:
        raise site.error(f"the `# /// script` block of `{script}` is not TOML ({error})", hint=_HINT) from error
    _check_types(header, script, site)
    return header


def _check_types(header: Mapping[str, Any], script: Path, site: Site) -> None:
    dependencies, wanted = header.get("dependencies", []), header.get("requires-python", "")
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise site.error(f"`dependencies` of `{script}` is not a list of strings", hint=_HINT)
    if not isinstance(wanted, str):
        raise site.error(f"`requires-python` of `{script}` is not a string", hint=_HINT)
    tool = header.get("tool", {})
    uv = tool.get("uv", {}) if isinstance(tool, dict) else None
    if not isinstance(uv, dict):
        raise site.error(f"`[tool.uv]` of `{script}` is not a table", hint=_HINT)


def check_python(header: Mapping[str, Any], version: tuple[int, int] | None, script: Path, site: Site) -> None:
    """Refuse a script whose `requires-python` is not what the image has: it would fail when it starts."""
    wanted = header.get("requires-python")
    if not wanted or not version:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        specifier = SpecifierSet(wanted)
    except InvalidSpecifier as error:
        raise site.error(
            f"`requires-python` of `{script}` is `{wanted}`, which is not a version specifier",
            hint="write it like `>=3.11`",
        ) from error
    # Which patch release the image has is not known; any will do.
    releases = (f"{version[0]}.{version[1]}.{patch}" for patch in range(100))
    accepted = any(specifier.contains(release, prereleases=True) for release in releases)
    if not accepted:
        raise site.error(
            f"`{script}` requires Python `{wanted}`, and the image has {version[0]}.{version[1]}",
            hint="give `python_version` to `from_uv_script`",
        )


def uv_options(header: Mapping[str, Any], options: PipOptions, script: Path, site: Site) -> PipOptions:
    """`options` with what `[tool.uv]` of a script asks for: its indexes and `exclude-newer`.

    Raises UnsupportedImageError for every other key: `uv pip install` has no way to honour it.
    """
    table = header.get("tool", {}).get("uv", {})
    unknown = sorted(set(table) - {"index", "exclude-newer"})
    if unknown:
        raise site.error(
            f"`{unknown[0]}` in `[tool.uv]` of `{script}` cannot be honoured in an image",
            hint="use `with_uv_project` with a project that has it, or leave it out",
        )
    default = ""
    for index in _indexes(table, script, site):
        if not index.get("default"):
            options = replace(options, extra_index_urls=(*options.extra_index_urls, index["url"]))
        elif not default:
            default = index["url"]
    # As with uv, what is asked for outside of the script counts more.
    options = replace(options, index_url=options.index_url or default)
    if newest := table.get("exclude-newer"):
        date = newest.isoformat() if isinstance(newest, datetime.date | datetime.datetime) else str(newest)
        options = replace(options, extra_args=f"{options.extra_args} --exclude-newer {shlex.quote(date)}".strip())
    return options


def _indexes(table: Mapping[str, Any], script: Path, site: Site) -> Sequence[Mapping[str, Any]]:
    """The indexes of `[tool.uv]`, each of which has a URL."""
    indexes = table.get("index", [])
    if not isinstance(indexes, list) or not all(isinstance(index, dict) for index in indexes):
        raise site.error(
            f"`index` in `[tool.uv]` of `{script}` is not a list of tables", hint="write `[[tool.uv.index]]`"
        )
    for index in indexes:
        url = index.get("url")
        if not isinstance(url, str) or "://" not in url:
            raise site.error(f"`{script}` has an index without a URL", hint="folders cannot be indexes of a script")
        if index.get("explicit"):
            raise site.error(
                f"`{script}` has an index that is `explicit`, which needs `[tool.uv.sources]`",
                hint="use `with_uv_project` with a project that has them, or leave out `explicit`",
            )
        if unknown := sorted(key for key in index.keys() - _INDEX_KEYS - {"explicit"} if index[key] != "simple"):
            raise site.error(
                f"`{unknown[0]}` of an index of `{script}` cannot be honoured in an image",
                hint="use `with_uv_project` with a project that has it, or leave it out",
            )
    return indexes


def dependencies(
    header: Mapping[str, Any], version: tuple[int, int] | None, script: Path, site: Site
) -> tuple[list[str], list[LocalProject]]:
    """What a script depends on: requirements for indexes and URLs elsewhere, and what `file:` URLs name here.

    What a marker leaves out of an image with Python `version` is left out of the latter, which are no requirements any
    more when they get there. Raises UnsupportedImageError for a marker that only the image can decide, and for
    repositories of this machine.
    """
    requirements: list[str] = []
    projects: list[LocalProject] = []
    for text in header.get("dependencies", []):
        match = _LOCAL.fullmatch(text.strip())
        if match is None:
            if _REPOSITORY.search(text):
                raise site.error(
                    f"`{text}` of `{script}` is a repository of this machine, which the image does not have",
                    hint="write the URL that it was cloned from, or name its folder with `file://`",
                )
            requirements.append(text)
        elif _holds(match["marker"] or "", version, text, script, site):
            names = filter(None, (extra.strip() for extra in (match["extras"] or "").split(",")))
            extras = tuple(sorted({normal_name(extra) for extra in names}))
            projects.append(LocalProject(_folder(match["url"], text, script, site), match["name"] or "", extras))
    return requirements, projects


def _folder(url: str, text: str, script: Path, site: Site) -> Path:
    """What a `file:` URL names, or the part of it that is asked for."""
    path = local_path(url)
    if not path:
        raise site.error(f"`{text}` of `{script}` names no folder", hint="write it like `name @ file:///path/of/it`")
    within = parse_qs(url.partition("#")[2]).get("subdirectory", [""])[0]
    return Path(path, within)


def _holds(condition: str, version: tuple[int, int] | None, text: str, script: Path, site: Site) -> bool:
    """Whether a marker, which may be empty, holds in the image."""
    if not condition.strip():
        return True
    from packaging.markers import InvalidMarker, Marker

    try:
        marker = Marker(condition.strip())
    except InvalidMarker as error:
        raise site.error(
            f"`{text}` of `{script}` has a marker that is none", hint="write it like `; python_version < '3.12'`"
        ) from error
    if unknown := _IN_EACH_IMAGE.search(_QUOTED.sub("", str(marker))):
        raise site.error(
            f"`{text}` of `{script}` depends on `{unknown[1]}`, which is known only when the image is there",
            hint="use `python_version`, or leave the marker out",
        )
    major, minor = version or (3, 11)
    return marker.evaluate({**_IN_IMAGES, "python_version": f"{major}.{minor}"})
