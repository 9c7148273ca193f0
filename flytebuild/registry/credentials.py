"""Credentials for registries, from where `docker login` and `podman login` left them."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.programs import ask
from flytebuild.registry.docker_config import HUB_KEY, AuthFile, AuthFileError, Credentials, normalised
from flytebuild.registry.reference import DOCKER_HUB

__all__ = ["Credentials", "Found", "Keychain", "api_host", "find", "look_up"]

DEADLINE = 30.0
"""Seconds that a credential helper may take."""

_KEPT = 600.0
"""Seconds that a helper's answer counts: a build asks once, and nobody is left with what has expired."""

_HUB_API = "registry-1.docker.io"
_IDENTITY_TOKEN = "<token>"  # noqa: S105 - the user name that says so
_NOT_FOUND = "credentials not found"
"""How helpers say that they have none (docker-credential-helpers `credentials/error.go`)."""

_HELPER = re.compile(r"[\w.-]+")


class Found(Struct, frozen=True):
    """What there is for a registry; without credentials, `problem` may say why there could have been some.

    `source` is the program or the file that they are from.
    """

    credentials: Credentials | None = None
    problem: str = ""
    source: str = ""


class Keychain:
    """Looks credentials up as Docker does, in the file that `REGISTRY_AUTH_FILE` names before Docker's own.

    Files are read anew every time. A helper is asked once in a while, however many ask for its registry at the same
    time, and it is not waited for without end. Safe to use from several threads.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: dict[tuple[str, str], threading.Lock] = {}
        self._answers: dict[tuple[str, str], tuple[float, Found]] = {}

    def look_up(self, host: str, repository: str = "") -> Found:
        """The credentials for a repository of a registry, or for the registry as a whole. Blocks."""
        problems = []
        for path in self._files():
            try:
                file = AuthFile.load(path)
                found = self._in_file(file, host, repository) if file else Found()
            except AuthFileError as error:
                found = Found(problem=str(error))
            if found.credentials:
                return replace(found, source=found.source or str(path))
            problems += [found.problem] if found.problem else []
        return Found(problem="; ".join(problems))

    def _files(self) -> tuple[Path, ...]:
        """An empty variable is none."""
        own = self._environ.get("REGISTRY_AUTH_FILE")
        folder = self._environ.get("DOCKER_CONFIG")
        docker = Path(folder) if folder else Path.home() / ".docker"
        return (*((Path(own),) if own else ()), docker / "config.json")

    def _in_file(self, file: AuthFile, host: str, repository: str) -> Found:
        problem = ""
        for found in self._places(file, normalised(host), repository):
            if found.credentials:
                return found
            problem = problem or found.problem
        return Found(problem=problem)

    def _places(self, file: AuthFile, registry: str, repository: str) -> Iterator[Found]:
        """Where a file says that credentials may be, the first one first; later ones may never be asked for."""
        named = file.helpers.get(registry)
        yield self._ask(named, registry)
        yield Found(file.entry_within(registry, repository))
        yield self._ask(None if named else file.store, registry)
        yield Found(file.entry(registry))

    def _ask(self, helper: str | None, registry: str) -> Found:
        if not helper:
            return Found()
        key = (helper, registry)
        with self._lock:
            turn = self._asking.setdefault(key, threading.Lock())
        with turn:
            asked, answer = self._answers.get(key, (0.0, None))
            if answer is None or self._clock() - asked > _KEPT:
                answer = _ask(helper, registry, self._environ)
                self._answers[key] = self._clock(), answer
            return answer


def api_host(registry: str) -> str:
    """The host that answers for a registry: the Docker Hub's API has another name than its images."""
    return _HUB_API if registry in (DOCKER_HUB, "index.docker.io") else registry


_KEYCHAIN = Keychain()


def look_up(host: str, repository: str = "") -> Found:
    """What this process's keychain has for a repository. Blocks while a helper is asked."""
    return _KEYCHAIN.look_up(host, repository)


def find(host: str, repository: str = "") -> Credentials | None:
    """The same where it does not matter why there are none: an anonymous call may do, or the registry refuses it."""
    return look_up(host, repository).credentials


def _ask(helper: str, registry: str, environ: Mapping[str, str]) -> Found:
    """Ask a program for a registry's credentials (github.com/docker/docker-credential-helpers)."""
    program = f"docker-credential-{helper}"
    if not _HELPER.fullmatch(helper):
        return Found(problem=f"`{helper}` is no credential helper's name")
    server = HUB_KEY if registry == DOCKER_HUB else registry
    try:
        ended = ask([program, "get"], deadline=DEADLINE, question=server.encode(), environ=environ)
    except TimeoutError as error:
        return Found(problem=f"`{program}` gives {error}")
    except OSError as error:
        return Found(problem=f"`{program}` cannot be run ({error.strerror})")
    if ended.code:
        if _NOT_FOUND in ended.output.decode("utf-8", "replace"):
            return Found()
        complaint = ended.complaint.strip().splitlines()
        return Found(problem=f"`{program}` fails ({complaint[-1] if complaint else f'exit code {ended.code}'})")
    try:
        answer = json.loads(ended.output)
        username, secret = str(answer.get("Username") or ""), str(answer["Secret"])
    except (ValueError, KeyError, AttributeError):
        return Found(problem=f"`{program}` answers with something else than credentials")
    return Found(Credentials("" if username == _IDENTITY_TOKEN else username, secret), source=program)
