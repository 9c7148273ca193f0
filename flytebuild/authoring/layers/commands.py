"""Commands, in the forms that a Dockerfile's `RUN` knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import flyte
from flyte._image import _CREATE_FLYTE_USER_CMD, Commands

from flytebuild.authoring import credentials
from flytebuild.authoring.dockerfiles import is_one_instruction
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.layers.options import layer_secrets, refuse_null
from flytebuild.authoring.site import Site
from flytebuild.spec import layers as spec
from flytebuild.spec.model import Part, RunAs

_HEREDOC = re.compile(
    r"^<<(?P<dash>-?)(?P<quote>[\"']?)(?P<word>[A-Za-z_]\w*)(?P=quote)[ \t]*\n(?P<body>.*)\Z", re.DOTALL
)


_OTHER_HEREDOC = re.compile(r"""<<-?[ \t]*(?:"[^"\n]*"|'[^'\n]*'|\S+)[ \t]*(?:\n|\Z)""")


def commands(layer: Commands, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    """Commands of the user's, each a step of its own."""
    secrets = layer_secrets(layer.secret_mounts, site)
    for text in layer.commands:
        command = _command(text, secrets, site)
        # Of an array what it says, however it is escaped.
        said = " ".join(command.args) or text
        refuse_null(said, site)
        if credentials.find(said):
            raise site.error("a command has a URL with credentials", hint="pass them with `secret_mounts`")
        yield command
        if text == _CREATE_FLYTE_USER_CMD:
            yield RunAs("flyte")


def _command(text: str, secrets: tuple[spec.Secret, ...], site: Site) -> spec.Command:
    """The forms that a Dockerfile's `RUN` knows: shell text, a JSON array without a shell, and a script as heredoc.

    Text of several lines is ours alone: the first one that fails ends it.
    """
    stripped = text.strip()
    if not stripped:
        raise site.error("a command is empty", hint="leave it out")
    if stripped.startswith("--"):
        raise site.error(
            f"`{stripped.split()[0]}` is an option of a Dockerfile's `RUN`, not a command",
            hint="use `secret_mounts` for secrets; uv's and apt's caches are mounted by their own layers",
        )
    if stripped.startswith("["):
        try:
            args = json.loads(stripped)
        except ValueError:
            args = None
        if isinstance(args, list) and args and all(isinstance(item, str) for item in args):
            return spec.Command(args=tuple(args), secrets=secrets)
    heredoc = _HEREDOC.match(text.lstrip())
    if heredoc:
        return spec.Command(_heredoc(heredoc, site), secrets=secrets)
    if _OTHER_HEREDOC.match(stripped):
        # A shell would read the lines, and do nothing with them.
        raise site.error(
            f"`{stripped.splitlines()[0]}` does not start a script that can be read",
            hint="write `<<EOF`, the lines of the script, and `EOF`",
        )
    if "\n" in stripped and not is_one_instruction(f"RUN {stripped}"):
        # A Dockerfile can hold one line only. A shell would take the last one's success for that of all.
        text = spec.STRICT + text
    return spec.Command(text, secrets=secrets)


def _heredoc(match: re.Match[str], site: Site) -> str:
    """The script of `<<WORD … WORD`, which a Dockerfile runs instead of feeding it to a command."""
    lines = []
    remaining = iter(match["body"].split("\n"))
    for line in remaining:
        line = line.lstrip("\t") if match["dash"] else line
        if line == match["word"]:
            break
        lines.append(line)
    else:
        raise site.error(
            f"the script that starts with `<<{match['word']}` does not end with `{match['word']}`",
            hint="the last line is that word, and nothing else",
        )
    if after := next(filter(str.strip, remaining), ""):
        raise site.error(
            f"`{after.strip()}` comes after the end of the script that starts with `<<{match['word']}`",
            hint="give it as a command of its own",
        )
    if lines and lines[0].startswith("#!"):
        raise site.error(
            f"a script for `{lines[0][2:].strip()}` cannot be run from a heredoc",
            hint="copy the script with `with_source_file` and run it by its path",
        )
    return "\n".join(lines)
