"""Images by the user's own Dockerfile: its context, and the images that it names.

A frontend of BuildKit's builds them. We read no more of the Dockerfile than what must be known beforehand: which images
it starts from and copies from, and which frontend it wants, so that each is pinned by its digest.
https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from msgspec import Struct, field

from flytebuild.authoring import credentials
from flytebuild.authoring.files import STATE, HostFiles
from flytebuild.authoring.site import Site
from flytebuild.errors import UsageError
from flytebuild.registry import reference
from flytebuild.spec.expand import ExpansionError, expand
from flytebuild.spec.layers import Dockerfile

_WORD = re.compile(r"""(?:[^\s"']|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)"|([^'"]+)""")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "check", "escape")
_AUTOMATIC = re.compile(r"\$\{?(?:BUILD|TARGET)(?:PLATFORM|OS|ARCH|VARIANT)\b")


class _Instruction(Struct, frozen=True):
    """A logical line: continued lines joined, without its heredocs; `number` is that of its first line."""

    number: int
    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The words after the name, with their quotes."""
        return _WORD.findall(self.rest)

    @property
    def flags(self) -> list[tuple[str, str]]:
        """The options in front of the words, as names and values."""
        found = []
        for word in self.words:
            if not word.startswith("--"):
                break
            flag, _, value = word[2:].partition("=")
            found.append((flag, _QUOTED.sub(lambda match: "".join(match.groups("")), value)))
        return found

    def error(self, problem: str, site: Site, hint: str | None) -> Exception:
        """The error that says `problem` about this line."""
        return site.error(f"line {self.number} of the Dockerfile {problem}", hint=hint)


class _Stage(Struct):
    """What one `FROM` starts: the image or stage below it, and which others it copies from or mounts."""

    base: str | int
    sources: list[tuple[_Instruction, str]] = field(default_factory=list)


def read(
    file: Path, files: HostFiles, site: Site, platforms: Collection[str] = ()
) -> tuple[Dockerfile, tuple[str, ...]]:
    """The Dockerfile with its context, and the images it needs in the order of their mention.

    The context is the Dockerfile's folder without what `<name>.dockerignore`, or else `.dockerignore` there leaves out;
    that may be these files and the Dockerfile itself. `platforms` are those that the image is for. Raises
    UnsupportedImageError for a file that is missing, that names images in a way that cannot be pinned, or that has a
    URL with credentials, in a comment as well: the file is sent, and kept in the digest.
    """
    text = files.text(file, site)
    credentials.refuse_dockerfile(text, file, site)
    folder = file.parent
    candidates = (folder / f"{file.name}.dockerignore", folder / ".dockerignore")
    ignore_file = next((path for path in candidates if path.is_file()), None)
    ignore = STATE.joined(files.patterns(ignore_file, site)) if ignore_file else STATE
    tree = files.filtered(ignore).folder(folder, site)
    layer = Dockerfile(files.file(file, site), tree, syntax=syntax(text, site))
    return layer, images(text, site, platforms)


def syntax(text: str, site: Site) -> str:
    """The frontend that a Dockerfile wants: an image and perhaps words for it; nothing for the builder's own.

    BuildKit looks for `# syntax=` at the start of the file's first lines, or for `// syntax=` there.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    skipped = 1 if lines[0].startswith("#!") else 0
    for mark in ("#", "//"):
        for number, line in enumerate(lines[skipped:], skipped + 1):
            match = _DIRECTIVE.fullmatch("#" + line[len(mark) :]) if line.startswith(mark) else None
            if not match or match[1].lower() not in _DIRECTIVES:
                break
            if match[1].lower() == "syntax":
                found = _Instruction(number, "SYNTAX", match[2])
                _checked(match[2].split()[0], found, site)
                return match[2]
    return ""


def is_one_instruction(text: str) -> bool:
    """Whether that is all that a Dockerfile of this text consists of."""
    return len(list(_instructions(text))) == 1


def images(text: str, site: Site, platforms: Collection[str] = ()) -> tuple[str, ...]:
    """The images that the last stage needs: those that it, and the stages it is made of, start or copy from.

    They are named as in the file, variables expanded, in the order of their mention.
    """
    stages, names = _stages(text, site, platforms)
    needed: set[int] = set()
    pending = [len(stages) - 1]
    while pending:
        number = pending.pop()
        if number in needed:
            continue
        needed.add(number)
        stage = stages[number]
        found = (_stage_of(source, line, len(stages), names, site) for line, source in stage.sources)
        pending += [item for item in (stage.base, *found) if isinstance(item, int)]
    mentioned: dict[str, None] = {}
    for number in sorted(needed):
        stage = stages[number]
        if isinstance(stage.base, str) and stage.base != "scratch":
            mentioned[stage.base] = None
        for line, source in stage.sources:
            if isinstance(_stage_of(source, line, len(stages), names, site), str):
                mentioned[_checked(source, line, site)] = None
    return tuple(mentioned)


def _stages(text: str, site: Site, platforms: Collection[str]) -> tuple[list[_Stage], dict[str, int]]:
    """All stages in their order, and the numbers of those that have names."""
    arguments: dict[str, str] = {}
    stages: list[_Stage] = []
    names: dict[str, int] = {}
    for line in _instructions(text):
        if line.name == "ARG" and not stages:
            _declare(line, arguments, site)
        elif line.name == "FROM":
            words = [word for word in line.words if not word.startswith("--")]
            if not words:
                raise line.error("is a `FROM` that names no image", site, "write `FROM name:tag`")
            _check_platform(line, platforms, site)
            base = _expand(words[0], line, arguments, site)
            known = names.get(base.lower())
            stages.append(_Stage(known if known is not None else _checked(base, line, site)))
            if len(words) == 3 and words[1].upper() == "AS":
                names[words[2].lower()] = len(stages) - 1
        elif stages:
            stages[-1].sources += [(line, source) for source in _sources(line)]
    if not stages:
        raise site.error(
            "the Dockerfile has no `FROM`", hint="start it with the image that is built upon: `FROM name:tag`"
        )
    return stages, names


def _check_platform(line: _Instruction, platforms: Collection[str], site: Site) -> None:
    """Images are pinned for the platform that is built; one that is named for another would be the wrong one."""
    wanted = dict(line.flags).get("platform", "")
    others = [platform for platform in platforms if wanted not in (platform, platform.removeprefix("linux/"))]
    if wanted and "$" not in wanted and others:
        raise line.error(
            f"starts from an image for `{wanted}`, and the image is also for `{others[0]}`",
            site,
            "leave out `--platform`, or build the image for that platform alone",
        )


def _declare(line: _Instruction, arguments: dict[str, str], site: Site) -> None:
    for word in line.words:
        name, equals, value = word.partition("=")
        if equals:
            # What depends on the platform is told where an image is named by it.
            is_automatic = _AUTOMATIC.search(value)
            arguments[name] = value if is_automatic else _expand(value, line, arguments, site)


def _sources(line: _Instruction) -> Iterator[str]:
    """The stages and images that an instruction takes files from."""
    for flag, value in line.flags:
        if line.name in ("COPY", "ADD") and flag == "from":
            yield value
        elif line.name == "RUN" and flag == "mount":
            for item in next(csv.reader([value]), []):
                key, _, source = item.partition("=")
                if key.strip().lower() == "from":
                    yield source


def _stage_of(source: str, line: _Instruction, count: int, names: dict[str, int], site: Site) -> int | str:
    """The number of a stage by its name or number, else the image that is meant."""
    if source.lower() in names:
        return names[source.lower()]
    if source.isdecimal():
        if int(source) >= count:
            raise line.error(
                f"copies from stage {source}, which does not exist", site, "stages are counted from 0; a name is safer"
            )
        return int(source)
    return source


def _checked(image: str, line: _Instruction, site: Site) -> str:
    if image == "scratch":
        return image
    if not image:
        raise line.error("names an image by a variable that has no value", site, "give its `ARG` a default")
    try:
        reference.parse(image)
    except UsageError as error:
        shown = reference.without_credentials(image)
        raise line.error(f"names `{shown}`, which is not an image reference", site, error.hint) from error
    return image


def _instructions(text: str) -> Iterator[_Instruction]:
    """What a Dockerfile consists of: comments dropped, continued lines joined, heredocs left out."""
    lines = text.removeprefix("\ufeff").split("\n")
    escape = _escape(lines)
    pending, start = "", 0
    ends: list[tuple[str, bool]] = []
    for number, line in enumerate(lines, 1):
        if ends:
            word, is_dedented = ends[0]
            if (line.lstrip("\t") if is_dedented else line) == word:
                ends.pop(0)
            continue
        if line.lstrip().startswith("#") or (pending and not line.strip()):
            continue
        start = start if pending else number
        bare = line.rstrip(" \t")
        if bare.endswith(escape) and not bare.endswith(escape * 2):
            pending += bare[:-1]
            continue
        words = (pending + line).strip().split(None, 1)
        pending = ""
        if words:
            instruction = _Instruction(start, words[0].upper(), words[1] if len(words) > 1 else "")
            ends = list(_heredocs(instruction))
            yield instruction
    if pending.strip():
        name, _, rest = pending.strip().partition(" ")
        yield _Instruction(start, name.upper(), rest)


def _escape(lines: list[str]) -> str:
    """The character that continues lines: a directive may name another; directives come before everything else."""
    for line in lines:
        match = _DIRECTIVE.fullmatch(line.strip())
        if not match or match[1].lower() not in _DIRECTIVES:
            break
        if match[1].lower() == "escape":
            return match[2]
    return "\\"


def _heredocs(line: _Instruction) -> Iterator[tuple[str, bool]]:
    """The lines that end the heredocs of an instruction, and whether tabs in front of them are left out."""
    if line.name not in ("RUN", "COPY", "ADD", "ONBUILD"):
        return
    for word in line.words:
        if match := _HEREDOC.fullmatch(word):
            yield _QUOTED.sub(lambda item: "".join(item.groups("")), match[2]), bool(match[1])


def _expand(text: str, line: _Instruction, arguments: dict[str, str], site: Site) -> str:
    """The value of a word; single quotes keep what is in them from being expanded."""

    def expanded(match: re.Match[str]) -> str:
        return match[1] if match[1] is not None else expand(match[2] or match[3] or "", arguments)

    try:
        value = _QUOTED.sub(expanded, text)
    except ExpansionError as error:
        raise line.error(
            f"has `{error}`, which cannot be expanded",
            site,
            "use `$NAME`, `${NAME}`, `${NAME:-default}` or `${NAME:+value}`",
        ) from error
    if _AUTOMATIC.search(text) or _AUTOMATIC.search(value):
        raise line.error(
            f"names `{text}`, which depends on the platform, so the image cannot be pinned",
            site,
            "name the image without platform variables",
        )
    return value
