"""Scripts that declare their dependencies in themselves (PEP 723).

https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from flytebuild.authoring.credentials import CREDENTIALS, CREDENTIALS_HINT
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.site import Site
from flytebuild.spec.layers import PipOptions

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$")
"""The expression of the standard, but for names; it allows no blanks at the ends of the lines that are the marks."""

_HINT = "declare the script's dependencies as PEP 723 describes"
_INDEX_KEYS = {"name", "url", "default"}


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
    if CREDENTIALS.search(source):
        raise site.error(f"`{script}` has a URL with credentials", hint=CREDENTIALS_HINT)
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
    try:
        specifier = SpecifierSet(wanted)
    except InvalidSpecifier as error:
        raise site.error(f"`requires-python` of `{script}` is `{wanted}`, which is not a version specifier") from error
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
            raise site.error(f"`{script}` has an index that is `explicit`, which needs `[tool.uv.sources]`")
        if unknown := sorted(key for key in index.keys() - _INDEX_KEYS - {"explicit"} if index[key] != "simple"):
            raise site.error(
                f"`{unknown[0]}` of an index of `{script}` cannot be honoured in an image",
                hint="use `with_uv_project` with a project that has it, or leave it out",
            )
    return indexes
