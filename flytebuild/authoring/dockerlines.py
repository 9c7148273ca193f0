"""The lines of a Dockerfile that the SDK's own default images hold: labels and environment variables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from flytebuild.authoring.site import Site
from flytebuild.spec.model import SetEnv, SetLabels, Setting

_INSTRUCTION = re.compile(r"^\s*(?P<name>[A-Za-z]+)\s+(?P<rest>.*?)\s*$", re.DOTALL)


def settings(line: str, site: Site) -> Iterator[Setting]:
    """What one line sets. Raises UnsupportedImageError for any instruction but `LABEL` and `ENV`."""
    if not line.strip() or line.lstrip().startswith("#"):
        return
    match = _INSTRUCTION.match(line)
    name = match["name"].upper() if match else ""
    if match is None or name not in ("LABEL", "ENV") or not _is_plain(name, match["rest"]):
        raise site.error(
            f"`{line.strip()}` is a line of a Dockerfile that has no equivalent here",
            hint="use the image's `with_` methods",
        )
    try:
        words = shlex.split(match["rest"])
    except ValueError as error:
        raise site.error(f"`{line.strip()}` cannot be read ({error})", hint="close what was opened") from error
    pairs = tuple((key, value) for key, equals, value in (word.partition("=") for word in words) if key and equals)
    if len(pairs) != len(words):
        hint = "put quotes around values with blanks"
        raise site.error(f"`{line.strip()}` is not of the form `{name} NAME=VALUE`", hint=hint)
    yield SetLabels(pairs) if name == "LABEL" else SetEnv(pairs)


def _is_plain(name: str, rest: str) -> bool:
    """Whether removing quotes is all there is to do: not where references or escapes come together with quotes."""
    has_reference = "$" in rest and (name == "LABEL" or "'" in rest)
    return "\\" not in rest and not has_reference
