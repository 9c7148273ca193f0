"""Asking uv: what an installation would change, and which files a version has. Nothing is installed.

uv comes with flytebuild and is of a known minor: the answers of `--output-format json` are a preview there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import tomli
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from flytebuild import indexes
from flytebuild.errors import DefectError, DefinitionError, UnavailableError
from flytebuild.programs import Ended, ask
from flytebuild.spec.layers import Pin
from flytebuild.wheels import complaints
from flytebuild.wheels.arguments import Arguments, NotLockableError
from flytebuild.wheels.environment import Environment, write
from flytebuild.wheels.pylock import pin, without_credentials
from flytebuild.wheels.tags import best

_DEADLINE = 600.0
"""Seconds for one answer: an index may be slow, and some wheels tell what they need only at their end."""

_KEPT = re.compile(r"(?!UV_|PIP_)|UV_(?:CACHE_DIR|HTTP_\w+|NATIVE_TLS|SYSTEM_CERTS|KEYRING_PROVIDER|OFFLINE)$")
"""Variables of the host that decide how indexes are reached, and nothing of what is resolved."""

_NO_CACHE = "Failed to initialize cache"
"""What uv says where its cache's folder cannot be written, as in a read-only home."""

_PYLOCK = "pylock.toml"

_GLIBC_MINORS = (17, 28, *range(31, 41))
"""The glibc 2.X that `--python-platform` knows; for a newer one, wheels of the newest of these are taken."""


_OPTIONS = {"--index": "UV_INDEX", "--default-index": "UV_DEFAULT_INDEX"}
_DEFAULTS = ("UV_INDEX_URL", "UV_DEFAULT_INDEX")
_PYPI = "https://pypi.org/simple"
"""What uv asks after the others where nothing takes its place."""


class Target(Struct, frozen=True):
    """The interpreter that is installed for: its version (`3.11.2`, or `3.11`), `x86_64` or `aarch64`, its glibc."""

    python: str
    machine: str
    glibc: tuple[int, int]

    @property
    def arguments(self) -> tuple[str, ...]:
        minor = max((known for known in _GLIBC_MINORS if known <= self.glibc[1]), default=_GLIBC_MINORS[0])
        platform = f"{self.machine}-manylinux_{self.glibc[0]}_{minor}"
        return ("--python-version", self.python, "--python-platform", platform)

    def best(self, filenames: Sequence[str]) -> str | None:
        """The wheel that is taken of several."""
        major, minor, *_ = map(int, self.python.split("."))
        return best(filenames, (major, minor), self.machine, self.glibc)


@dataclass(frozen=True, slots=True)
class Asking:
    """What a layer asks for: requirements or `--requirement FILE`, its options, and what its variables hold.

    `folder` is where it is asked, for what files refer to. `hide` takes secrets out of what uv complains.
    """

    what: tuple[str, ...]
    arguments: Arguments
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    hide: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Found:
    """Wheels, sorted by name. `signed` are the URLs of those that an index gives with credentials or a query, by hash.

    Such a URL may be good for minutes, or let everybody in: it is used, and kept nowhere.
    """

    pins: tuple[Pin, ...] = ()
    signed: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Uv:
    """uv, with the host's ways to reach indexes (`environ`) and the CA bundle that it trusts."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    ca_bundle: Path | None = None

    def indexes(self, asking: Asking) -> tuple[str, ...]:
        """The URLs of the indexes that are asked, with their credentials, in that order."""
        given = self._variables({**asking.variables, **_index_variables(asking)})
        told = asking.arguments.where
        for option, value in zip(told[::2], told[1::2], strict=True):
            if option in _OPTIONS:
                given[_OPTIONS[option]] = f"{given.get(_OPTIONS[option], '')} {value}"
        last = {name: given.pop(name) for name in _DEFAULTS if name in given}
        return (*indexes.urls(given), *(indexes.urls(last) or (_PYPI,)))

    @cached_property
    def version(self) -> str:
        """Its version, `0.13.9`."""
        ended = ask((_program(), "--version"), deadline=_DEADLINE, environ=self._variables({}))
        return ended.output.decode().split()[1]

    def changes(
        self, asking: Asking, target: Target, below: Environment, constraints: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The versions that an installation on top of `below` would add or change, by name.

        `constraints` are versions that packages must have if they are needed. Raises NotLockableError where there are
        no wheels, DefinitionError where the requirements cannot be met, UnavailableError where no index answers.
        """
        with _venv(below) as (python, folder):
            command = ["pip", "install", "--dry-run", "--output-format", "json", "--python", str(python)]
            if constraints:
                command += ["--constraint", str(_listed(folder / "constraints.txt", constraints))]
            ended = self._ask((*command, *self._options(asking, target), *asking.what), asking, target)
        try:
            listed = json.loads(ended.output)["changes"]
            added = [item for item in listed if item["action"] == "installed"]
            return {canonicalize_name(item["name"]): str(item["version"]) for item in added}
        except (ValueError, KeyError, TypeError) as error:
            raise DefectError(f"uv {self.version} answers in a form that is not known: {error}") from error

    def preferred(
        self, asking: Asking, target: Target, below: Environment, preferences: Mapping[str, str]
    ) -> dict[str, str] | None:
        """All versions where packages keep those in `preferences` if they can; None where that cannot be met."""
        with tempfile.TemporaryDirectory(prefix="flytebuild-") as folder:
            known = {**preferences, **{item.name: item.version for item in below.values()}}
            output = _listed(Path(folder) / "preferred.txt", known)
            requirements = Path(folder) / "asked.in"
            what = asking.what
            if "--requirement" in what:
                source = (asking.folder or Path.cwd()) / what[1]
            else:
                requirements.write_text("\n".join(what) + "\n", encoding="utf-8")
                source = requirements
            command = ("pip", "compile", "--no-header", "--no-annotate", "--output-file", str(output), str(source))
            try:
                self._ask((*command, *self._options(asking, target)), asking)
            except (DefinitionError, NotLockableError):
                return None
            lines = output.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition(";")[0].strip().partition("==") for line in lines if "==" in line)
        return {canonicalize_name(name): version for name, _, version in pairs}

    def exported(self, asking: Asking, choice: Sequence[str]) -> Path:
        """The file `pylock.toml` beside a project: what `uv sync` with such options installs of its `uv.lock`.

        Settings of the project count, and none of the host's. Nothing is built for it. Raises DefinitionError where the
        lock is not that of the project, NotLockableError where only a build, or another Python, would tell that.
        """
        with tempfile.TemporaryDirectory(prefix="flytebuild-") as folder:
            empty = Path(folder) / "uv" / "uv.toml"
            empty.parent.mkdir()
            empty.touch()
            paths = (self.environ.get("PATH", os.defpath), str(_python().parent))
            own = {"XDG_CONFIG_HOME": folder, "XDG_CONFIG_DIRS": folder, "PATH": os.pathsep.join(paths)}
            variables = {**asking.variables, **own, "UV_PYTHON_DOWNLOADS": "never"}
            command = ("export", "--format", "pylock.toml", "--output-file", _PYLOCK, "--no-header", "--no-build")
            alone = dataclasses.replace(asking, variables=variables)
            self._ask((*command, "--no-emit-project", *choice), alone, settings=())
        return (asking.folder or Path.cwd()) / _PYLOCK

    def files(self, versions: Mapping[str, str], asking: Asking, target: Target) -> Found:
        """The wheel of each version that is installed. Raises as `changes` does."""
        if not versions:
            return Found()
        with tempfile.TemporaryDirectory(prefix="flytebuild-") as folder:
            listed = _listed(Path(folder) / "pins.in", versions)
            output = Path(folder) / _PYLOCK
            where = Asking((), Arguments(*_indexes(asking)), asking.variables, hide=asking.hide)
            command = ("pip", "compile", "--no-deps", "--format", "pylock.toml", "--output-file", str(output))
            self._ask((*command, str(listed), *self._options(where, target)), where)
            packages = tomli.loads(output.read_text(encoding="utf-8"))["packages"]
        told = sorted((pin(item, target.best) for item in packages), key=lambda found: found.name)
        pins = tuple(replace(item, url=without_credentials(item.url)) for item in told)
        signed = {item.sha256: item.url for item, bare in zip(told, pins, strict=True) if item.url != bare.url}
        return Found(pins, signed)

    def _options(self, asking: Asking, target: Target) -> tuple[str, ...]:
        told = asking.arguments
        return (*target.arguments, "--only-binary", ":all:", *told.where, *told.which)

    def _nearest(self, name: str, version: str, asking: Asking, target: Target) -> str:
        """Which version there is in the place of one that there is not, as a hint."""
        alone = replace(asking.arguments, which=(*asking.arguments.which, "--no-deps"))
        for wanted, what in ((f"{name}<{version}", "the one before it"), (name, "the newest")):
            with suppress(DefinitionError, UnavailableError, NotLockableError):
                question = Asking((wanted,), alone, asking.variables, asking.folder, asking.hide)
                found = self.changes(question, target, {})
                return f"{what}, for this Python and platform, is {found[canonicalize_name(name)]}"
        return "look at the versions that its index has"

    def _ask(
        self,
        command: Sequence[str],
        asking: Asking,
        target: Target | None = None,
        settings: Sequence[str] = ("--no-config",),
    ) -> Ended:
        always = (*settings, "--no-progress", "--color", "never", "--quiet")
        environ = self._variables({**asking.variables, **_index_variables(asking)})
        try:
            ended = ask((_program(), *command, *always), deadline=_DEADLINE, folder=asking.folder, environ=environ)
            if ended.code and _NO_CACHE in ended.complaint:
                words = (_program(), *command, *always, "--no-cache")
                ended = ask(words, deadline=_DEADLINE, folder=asking.folder, environ=environ)
        except TimeoutError as error:
            hint = "see whether its package indexes can be reached"
            raise UnavailableError(f"uv gives {error}", hint=hint) from error
        if ended.code:
            complaint = asking.hide(ended.complaint).strip()
            if target and (missing := complaints.absent(complaint)):
                raise DefinitionError(complaints.no_version(*missing), hint=self._nearest(*missing, asking, target))
            raise complaints.failure(complaint, ended.code)
        return ended

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        given = {name: value for name, value in self.environ.items() if _KEPT.match(name)} | indexes.of_host(
            self.environ
        )
        trusted = {"SSL_CERT_FILE": str(self.ca_bundle)} if self.ca_bundle else {}
        return {**given, **trusted, **more}


def _program() -> str:
    """Where uv is: beside the Python that runs this, or wherever the host has it."""
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise UnavailableError("There is no `uv` beside flytebuild", hint="install flytebuild with what it depends on")
    return found


def _python() -> Path:
    """The interpreter that runs this, outside of its virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable))


@contextmanager
def _venv(environment: Environment) -> Iterator[tuple[Path, Path]]:
    """The Python of a virtual environment that seems to hold what is installed, and a folder for more files."""
    with tempfile.TemporaryDirectory(prefix="flytebuild-") as folder:
        place = Path(folder) / "venv"
        (place / "bin").mkdir(parents=True)
        python = place / "bin" / "python"
        python.symlink_to(_python())
        (place / "pyvenv.cfg").write_text(
            f"home = {_python().parent}\ninclude-system-site-packages = false\n", encoding="utf-8"
        )
        major, minor = sys.version_info[:2]
        site_packages = place / "lib" / f"python{major}.{minor}" / "site-packages"
        site_packages.mkdir(parents=True)
        write(environment, site_packages)
        yield python, Path(folder)


def _listed(file: Path, versions: Mapping[str, str]) -> Path:
    file.write_text("".join(f"{name}=={versions[name]}\n" for name in sorted(versions)), encoding="utf-8")
    return file


def _indexes(asking: Asking) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Where a layer's packages are, and how old they may be, without what else decides their versions."""
    told = asking.arguments
    return told.index_url, told.extra_index_urls, told.where, ()


def _index_variables(asking: Asking) -> dict[str, str]:
    """Indexes as variables, since their URLs may have credentials, and every process sees another one's arguments."""
    told = asking.arguments
    found = {}
    if told.index_url:
        found["UV_INDEX_URL"] = _expanded(told.index_url, asking.variables)
    if told.extra_index_urls:
        found["UV_EXTRA_INDEX_URL"] = " ".join(_expanded(url, asking.variables) for url in told.extra_index_urls)
    return found


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME}` replaced, which a shell does while the image is built."""
    return re.sub(r"\$\{(\w+)\}", lambda found: variables.get(found[1], ""), text)
