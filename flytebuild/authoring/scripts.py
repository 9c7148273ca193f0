"""Scripts that declare their dependencies in themselves (PEP 723).

https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.requirements import CREDENTIALS, CREDENTIALS_HINT
from flytebuild.authoring.site import Site
from flytebuild.spec.layers import PipOptions

_BLOCK = re.compile(r"(?m)^# /// script\s*$\n(?P<content>(?:^#(?:| .*)$\n)+)^# ///\s*$")


def metadata(script: Path, files: HostFiles, site: Site) -> Mapping[str, Any]:
    """The table of a script's `# /// script` block.

    Raises UnsupportedImageError where the script is missing, or has no such block, two of them, or a malformed one.
    """
    text = files.text(script, site)
    blocks = _BLOCK.findall(text if text.endswith("\n") else text + "\n")
    if len(blocks) != 1:
        count = "no" if not blocks else "more than one"
        raise site.error(
            f"`{script}` has {count} `# /// script` block",
            hint="declare the script's dependencies as PEP 723 describes",
        )
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines())
    source = "\n".join(lines)
    if CREDENTIALS.search(source):
        raise site.error(f"`{script}` has a URL with credentials", hint=CREDENTIALS_HINT)
    try:
        return tomli.loads(source)
    except tomli.TOMLDecodeError as error:
        raise site.error(f"the `# /// script` block of `{script}` is not TOML ({error})") from error


def check_python(header: Mapping[str, Any], version: tuple[int, int] | None, script: Path, site: Site) -> None:
    """Refuse a script whose `requires-python` is not what the image has: it would fail when it starts."""
    wanted = header.get("requires-python")
    if not wanted or not version:
        return
    try:
        accepted = SpecifierSet(wanted).contains(f"{version[0]}.{version[1]}.99", prereleases=True) or SpecifierSet(
            wanted
        ).contains(f"{version[0]}.{version[1]}.0", prereleases=True)
    except InvalidSpecifier as error:
        raise site.error(f"`requires-python` of `{script}` is `{wanted}`, which is not a version specifier") from error
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
    for index in table.get("index", ()):
        if index.get("explicit"):
            raise site.error(f"`{script}` has an index that is `explicit`, which needs `[tool.uv.sources]`")
        if index.get("default") and not options.index_url:
            options = replace(options, index_url=index["url"])
        else:
            options = replace(options, extra_index_urls=(*options.extra_index_urls, index["url"]))
    if newest := table.get("exclude-newer"):
        date = f"--exclude-newer {shlex.quote(str(newest))}"
        options = replace(options, extra_args=f"{options.extra_args} {date}".strip())
    return options
