"""Images by the user's own Dockerfile: its context, and the images that it names.

BuildKit's own frontend builds them. We read no more of the Dockerfile than what must be known beforehand: which images
it starts from and copies from, so that each is pinned by its digest.
https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.site import Site
from flytebuild.spec.expand import ExpansionError, expand
from flytebuild.spec.layers import Dockerfile
from flytebuild.trees.ignore import Ignore

_FLAG = re.compile(r"--(\w[\w-]*)(?:=(\S+))?")
_AUTOMATIC = re.compile(r"\$\{?(?:BUILD|TARGET)(?:PLATFORM|OS|ARCH|VARIANT)\b")


def read(file: Path, files: HostFiles, site: Site) -> tuple[Dockerfile, tuple[str, ...]]:
    """The Dockerfile with its context, and the images it names in the order of their mention.

    The context is the Dockerfile's folder without what `<name>.dockerignore` or `.dockerignore` there leaves out; the
    Dockerfile is in it whatever they say. Raises UnsupportedImageError for a file that is missing or has no `FROM`.
    """
    text = files.text(file, site)
    folder = file.parent
    candidates = (folder / f"{file.name}.dockerignore", folder / ".dockerignore")
    ignore_file = next((path for path in candidates if path.is_file()), None)
    ignore = Ignore.parse(files.text(ignore_file, site), str(ignore_file)) if ignore_file else Ignore.none()
    tree = files.filtered(ignore).folder(folder, site, keep=(file.name,))
    return Dockerfile(file.name, tree), images(text, site)


def images(text: str, site: Site) -> tuple[str, ...]:
    """The references of the images that a Dockerfile's stages start from and copy from, without those of its stages."""
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    found: dict[str, None] = {}
    has_stage = False
    for name, rest in _instructions(text):
        words = [word for word in rest.split() if not word.startswith("--")]
        if name == "ARG" and not has_stage:
            for word in words:
                key, _, value = word.partition("=")
                arguments[key] = _plain(_expand(value, arguments, site))
        elif name == "FROM":
            if not words:
                raise site.error("a `FROM` of the Dockerfile names no image")
            has_stage = True
            reference = _expand(words[0], arguments, site)
            if reference.lower() not in stages and reference != "scratch":
                found[reference] = None
            if len(words) == 3 and words[1].upper() == "AS":
                stages.add(words[2].lower())
        elif name in ("COPY", "ADD", "RUN"):
            for source in _copied_from(name, rest):
                if not source.isdigit() and source.lower() not in stages:
                    found[source] = None
    if not has_stage:
        raise site.error("the Dockerfile has no `FROM`")
    return tuple(found)


def _copied_from(name: str, rest: str) -> Iterator[str]:
    for flag, value in _FLAG.findall(rest):
        if name != "RUN" and flag == "from" and value:
            yield value
        elif name == "RUN" and flag == "mount":
            fields = dict(item.partition("=")[::2] for item in value.split(","))
            if fields.get("from"):
                yield fields["from"]


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, rest) pairs: comments dropped, continued lines joined, heredocs left out."""
    escape = "`" if re.search(r"(?im)\A(?:#.*\n)*#\s*escape\s*=\s*`", text) else "\\"
    pending, ends = "", list[str]()
    for line in text.splitlines():
        if ends:
            if line.lstrip("\t") == ends[0]:
                ends.pop(0)
            continue
        if line.lstrip().startswith("#") or (pending and not line.strip()):
            continue
        if line.rstrip().endswith(escape):
            pending += line.rstrip()[:-1] + " "
            continue
        name, _, rest = (pending + line).strip().partition(" ")
        pending = ""
        if name:
            ends = [word for _, word in re.findall(r"<<-?([\"']?)([A-Za-z_]\w*)\1", rest)] if _has_heredoc(name) else []
            yield name.upper(), rest.strip()


def _has_heredoc(name: str) -> bool:
    return name.upper() in ("RUN", "COPY", "ADD")


def _expand(text: str, arguments: dict[str, str], site: Site) -> str:
    if _AUTOMATIC.search(text):
        raise site.error(
            f"`{text}` of the Dockerfile depends on the platform, so the image cannot be pinned",
            hint="name the image without platform variables",
        )
    try:
        return expand(text, arguments)
    except ExpansionError as error:
        raise site.error(f"`{error}` of the Dockerfile cannot be expanded") from error


def _plain(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
