"""Scripts that declare their dependencies in themselves (PEP 723).

https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.requirements import CREDENTIALS, CREDENTIALS_HINT
from flytebuild.authoring.site import Site

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
            f"`{script}` has {count} `# /// script` block", hint="declare the script's dependencies as PEP 723 describes"
        )
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines())
    source = "\n".join(lines)
    if CREDENTIALS.search(source):
        raise site.error(f"`{script}` has a URL with credentials", hint=CREDENTIALS_HINT)
    try:
        return tomli.loads(source)
    except tomli.TOMLDecodeError as error:
        raise site.error(f"the `# /// script` block of `{script}` is not TOML ({error})") from error
