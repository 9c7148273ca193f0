"""What it means that uv gives no answer: its complaints, read. Pure.

uv of the minor that comes with flytebuild is read, which breaks lines where a terminal would; where no word is known,
its whole complaint is shown.
"""

from __future__ import annotations

import re

from flytebuild.errors import DefinitionError, UnavailableError
from flytebuild.wheels.arguments import NotLockableError

_NO_WHEEL = re.compile(r"(?:versions? of )?([\w.\-]+?)(?:[=<>!~]=?[\w.,*+!<>=]+)? (?:has|have) no (?:usable )?wheels")
_NO_BINARY = re.compile(r"Package `(\S+?)` can't be installed because it is marked as `--no-build`")
_NOT_BUILT = re.compile(r"Building source distributions for `(\S+?)` is disabled")
_NO_PYTHON = re.compile(r"No interpreter found for Python (.+?) in |python(3\.\d+): command not found")
_OTHER_LOCK = "The lockfile at `uv.lock` needs to be updated"
_UNREACHABLE = re.compile(r"Failed to fetch|Request failed|Could not connect|error sending request|dns error|offline")
_SILENT = re.compile(r"\btimed out\b")
_TOOK = re.compile(r"Request failed after \d+ retr(?:y|ies) in ((?:\d+m )?[\d.]+s)\b")
_FETCHED = re.compile(r"Failed to fetch: `?(https?://[^\s`]+)")
_REFUSED = re.compile(
    r"An index(?: URL)? \((?P<index>\S+)\) (?:could not be queried[^(]*\(|returned a )(?P<why>40[13] \w+)"
    r"|HTTP status client error \((?P<status>40[13] \w+)\) for url \((?P<url>\S+)\)"
)
_CONCLUSION = r", we can conclude that your requirements are unsatisfiable"
_NO_VERSION = re.compile(r"there is no version of (\S+)==(\S+) and you require \1(?:\[\S+\])?==\2" + _CONCLUSION)
_NONE_ALLOWED = re.compile(r"Because only (\S+) (?:is|are) available and you require (\S+)" + _CONCLUSION)
_UNKNOWN = re.compile(r"Because (\S+) was not found in the package registry and you require \1\S*" + _CONCLUSION)

_UNMET = 1
"""uv's exit code where requirements have no solution; a mistake in its arguments is another one."""

_CREDENTIALS = (
    "put them into the URL that this host's `UV_INDEX_URL` has, or `https://USER:${TOKEN}@HOST/…` into the layer's "
    "`index_url` and the secret `TOKEN` into its `secret_mounts`"
)


def failure(complaint: str, code: int) -> Exception:
    """The error for what uv said when it ended with this code: NotLockableError, UnavailableError, DefinitionError."""
    said = _in_one_line(complaint)
    if names := sorted({*_NO_WHEEL.findall(said), *_NO_BINARY.findall(said)}):
        shown = ", ".join(f"`{name}`" for name in names)
        return NotLockableError(f"there is no wheel of {shown} for this Python and platform")
    if built := _NOT_BUILT.search(said):
        return NotLockableError(f"what `{built[1]}` needs is known only once it is built")
    if python := _NO_PYTHON.search(said):
        return NotLockableError(
            f"only Python {python[1] or python[2]}, which this machine lacks, can tell whether its lock is right"
        )
    if _OTHER_LOCK in said:
        hint = "run `uv lock` in the project's folder"
        return DefinitionError("its `uv.lock` is not what its `pyproject.toml` asks for by now", hint=hint)
    if refused := _REFUSED.search(said):
        place, why = refused["index"] or refused["url"], refused["why"] or refused["status"]
        return UnavailableError(f"the index `{place}` wants other credentials ({why})", hint=_CREDENTIALS)
    if _UNREACHABLE.search(said):
        return _unreachable(said, complaint)
    if told := _unmet(said):
        return DefinitionError(told[0], hint=told[1])
    return DefinitionError(
        "the requirements cannot be met" if code == _UNMET else "uv does not take what it is asked",
        hint="mend the names and versions that uv complains about above, or the index that it asks",
        details=complaint,
    )


def _unreachable(said: str, complaint: str) -> UnavailableError:
    """An index that cannot be reached, or that takes the question and gives no answer."""
    fetched = _FETCHED.search(said)
    if _SILENT.search(said):
        place = f"`{fetched[1]}`" if fetched else "a package index"
        took = f", and uv gave up after {found[1]}" if (found := _TOOK.search(said)) else ""
        return UnavailableError(
            f"{place} did not answer in time{took}",
            hint="see whether the index answers this machine; `UV_HTTP_TIMEOUT` is how many seconds uv waits each time",
            details=complaint,
        )
    return UnavailableError(
        f"`{fetched[1]}` cannot be reached" if fetched else "uv cannot reach a package index",
        hint="see whether this machine reaches the index",
        details=complaint,
    )


def absent(complaint: str) -> tuple[str, str] | None:
    """The name and the version of a package that has no such version."""
    found = _NO_VERSION.search(_in_one_line(complaint))
    return (found[1], found[2]) if found else None


def _in_one_line(complaint: str) -> str:
    return " ".join(complaint.split())


def no_version(name: str, version: str) -> str:
    """What is told of a version that there is not."""
    return f"there is no `{name}` {version}"


def _unmet(said: str) -> tuple[str, str] | None:
    """What is missing where that is one thing alone, and what to do."""
    if missing := absent(said):
        return no_version(*missing), "look at the versions that its index has"
    if found := _NONE_ALLOWED.search(said):
        return f"there is no version that `{found[2]}` allows", f"what there is: `{found[1]}`"
    if found := _UNKNOWN.search(said):
        hint = "look at its name, or name its index with `index_url` or `extra_index_urls`"
        return f"no index that is asked has a package `{found[1]}`", hint
    return None
