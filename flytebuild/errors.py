"""Every error that flytebuild raises for a user to read.

    FlytebuildError
    ├── UsageError               64  the command line or the configuration asks for something impossible
    │   ├── UnknownTargetError       no task or environment of that name
    │   └── ConfigError              an unknown key, or a value of the wrong type
    ├── DefinitionError          65  the user's definitions cannot be used as they are
    │   ├── LoadError                a module failed to import; carries the user's traceback
    │   ├── DuplicateEnvironmentError  two environments of one name
    │   ├── DependencyCycleError     `depends_on` leads back to where it started
    │   ├── PartialError             several files or environments cannot be used; carries the error of each
    │   ├── UnsupportedImageError    an image, or a layer of it, that we cannot build
    │   ├── IgnoreFileError          a pattern in an ignore file that means nothing
    │   ├── DriftError               what a saved plan says does not hold any more
    │   ├── LockDriftError           a lock that must have everything does not
    │   ├── CheckError               a strict build, of definitions in which a check found something
    │   └── SourceError              a file or folder that an image needs cannot be taken as it is
    │       └── SourceChangedError   75  it changed while it was read
    ├── UnavailableError         69  something outside did not answer
    │   ├── EngineUnavailableError   no Docker Engine, or no BuildKit in it
    │   ├── RegistryUnavailableError a registry did not answer, or refused
    │   ├── UntrueError              what was fetched is not what an index promises of it
    │   └── ControlPlaneError        the local control plane cannot be started or reached
    ├── DefectError              70  our own mistake
    ├── OutputError              74  what was asked for cannot be written
    │   └── LockChangedError         75  somebody else has written the lock meanwhile
    ├── BuildError                1  images failed to build; carries one StepFailure per failing step
    │                                (75 where nothing failed but what may go well a little later)
    └── RunError                  1  the run ended in failure

Every error is one sentence without a full stop, may carry a hint (what to do next), and knows the exit code that
the command line ends with. The numbers are those of `sysexits.h`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

MAY_PASS = 75
"""`EX_TEMPFAIL`: the same command may go well a little later."""


class FlytebuildError(Exception):
    """Base of all errors below; raised itself by nobody.

    `details` are lines about it, shown above the message: frames of the user's, or what another program says.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(FlytebuildError):
    """Raised when what was asked for cannot be done with these arguments or this configuration."""

    exit_code = 64


class UnknownTargetError(UsageError):
    """Raised when a name matches no task and no environment."""

    def __init__(self, name: str, *, closest: str | None, known: Sequence[str]) -> None:
        if closest:
            hint = f"did you mean `{closest}`?"
        else:
            hint = "known names: " + ", ".join(f"`{item}`" for item in known) if known else "no task was found"
        super().__init__(f"No task or environment is called `{name}`", hint=hint)
        self.name = name
        self.closest = closest


class ConfigError(UsageError):
    """Raised when a configuration source holds an unknown key or a value of the wrong type."""


class DefinitionError(FlytebuildError):
    """Raised when the user's environments, tasks or images cannot be used as they are written."""

    exit_code = 65


class LoadError(DefinitionError):
    """Raised when a user's module fails to import; `traceback` holds the user's frames only."""

    def __init__(self, message: str, *, traceback: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.traceback = traceback


class DuplicateEnvironmentError(DefinitionError):
    """Raised when two environments share a name."""


class DependencyCycleError(DefinitionError):
    """Raised when `depends_on` forms a cycle; `cycle` starts and ends with the same name.

    `places` says where each environment is written, for those of which that is known.
    """

    def __init__(self, cycle: Sequence[str], places: Mapping[str, str] = MappingProxyType({})) -> None:
        shown = [f"{name} ({places[name]})" if name in places else name for name in cycle[:-1]]
        super().__init__(
            "`depends_on` forms a cycle: " + " → ".join([*shown, *cycle[-1:]]),
            hint="remove one of these `depends_on` entries; an environment must not need itself",
        )
        self.cycle = tuple(cycle)
        self.places = dict(places)


class PartialError(DefinitionError):
    """Raised when several of the user's files and environments cannot be used; `problems` has the error of each."""

    def __init__(self, problems: Sequence[DefinitionError]) -> None:
        super().__init__(
            f"{len(problems)} files or environments cannot be used",
            hint="give one file to see more of what it raises, or ask with `--for` for what is elsewhere",
        )
        self.problems = tuple(problems)


class UnsupportedImageError(DefinitionError):
    """Raised for an image or an image layer that cannot be turned into a spec."""


class IgnoreFileError(DefinitionError):
    """Raised for a malformed pattern; the message starts with its file and line."""


class DriftError(DefinitionError):
    """Raised when a saved plan is to be built and a new one differs; `differences` has a line for each way in which."""

    def __init__(self, source: str, differences: Sequence[str]) -> None:
        count = "one thing has" if len(differences) == 1 else f"{len(differences)} things have"
        super().__init__(
            f"The plan in `{source}` does not hold any more: {count} changed since it was made",
            hint="look at what changed, and plan again",
        )
        self.differences = tuple(differences)


class LockDriftError(DefinitionError):
    """Raised when everything must be locked and something is not; `differences` has a line for each thing."""

    def __init__(self, file: str, differences: Sequence[str], command: str = "flytebuild lock") -> None:
        super().__init__(
            f"`{file}` is not up to date",
            hint=f"`{command}` brings it up to date; versions and digests that it has stay unless they must move",
        )
        self.differences = tuple(differences)


class CheckError(DefinitionError):
    """Raised when definitions must be without findings and are not; `findings` has a line for each."""

    def __init__(self, findings: Sequence[str]) -> None:
        count = "one mistake was" if len(findings) == 1 else f"{len(findings)} mistakes were"
        super().__init__(f"Nothing is built: {count} found", hint="`flytebuild check` says how to mend what it finds")
        self.findings = tuple(findings)


class SourceError(DefinitionError):
    """Raised when a file or folder on this machine is missing, unreadable, or of a kind that no image can hold."""


class SourceChangedError(SourceError):
    """Raised when what was read is not what was there at first; nothing that depends on it is published."""

    exit_code = MAY_PASS

    def __init__(self, path: str) -> None:
        super().__init__(f"`{path}` changed while it was read", hint="build again when nothing writes to it")
        self.path = path


class UnavailableError(FlytebuildError):
    """Raised when a service that we need does not answer."""

    exit_code = 69


class EngineUnavailableError(UnavailableError):
    """Raised when no Docker Engine answers, or its BuildKit cannot be used."""


class RegistryUnavailableError(UnavailableError):
    """Raised when a registry does not answer or refuses a request that we cannot do without."""


class UntrueError(UnavailableError):
    """Raised when what a server gives is not what a package index promises of it: somebody has changed one of them."""


class ControlPlaneError(UnavailableError):
    """Raised when the local control plane cannot be started or does not answer."""


class DefectError(FlytebuildError):
    """Raised by nobody: what an exception becomes that nobody expected."""

    exit_code = 70


class OutputError(FlytebuildError):
    """Raised when standard output takes no more, as on a disk that is full."""

    exit_code = 74


class LockChangedError(OutputError):
    """Raised when a lock is not what it was when its successor was begun, which then knows nothing of the change."""

    exit_code = MAY_PASS

    def __init__(self, file: str) -> None:
        super().__init__(f"`{file}` was changed meanwhile, and is left as it is", hint="run the same command again")


class StepFailure(Struct, frozen=True):
    """One failing step of a build, with the images that it broke.

    `exit_code` is the step's own, or None where no process ran; `log` holds the step's last lines, `hint` what to do
    if that is known, `origin` the place in the user's code (`file:line`) that asked for the step, and
    after a comma its line in a Dockerfile. What `may_pass` is nobody's mistake: it may go well a little later.
    """

    step: str
    message: str
    exit_code: int | None
    log: tuple[str, ...]
    environments: tuple[str, ...]
    hint: str = ""
    origin: str = ""
    may_pass: bool = False


class BuildError(FlytebuildError):
    """Raised when at least one image failed; the other images were still built."""

    def __init__(
        self,
        failures: Sequence[StepFailure],
        *,
        manifests: Mapping[str, str | None],
        failed: int,
        cancelled: Sequence[str] = (),
    ) -> None:
        """`manifests` has what was published, a digest by reference; `failed` counts the images that were not.

        `cancelled` are the references of those that were not even tried to the end.
        """
        total = failed + len(manifests) + len(cancelled)
        count = f"{failed} of {total} images" if total > 1 else "the image"
        stopped = f", and {len(cancelled)} more were cancelled" if len(cancelled) > 1 else ", and another was cancelled"
        kept = "the images that succeeded are kept; " if manifests else ""
        may_pass = bool(failures) and all(failure.may_pass for failure in failures)
        remedy = (
            "run the same command again in a while" if may_pass else "mend what failed, and run the same command again"
        )
        super().__init__(f"Building {count} failed" + (stopped if cancelled else ""), hint=f"{kept}{remedy}")
        if may_pass:
            self.exit_code = MAY_PASS
        self.failures = tuple(failures)
        self.manifests = dict(manifests)
        self.failed = failed
        self.cancelled = tuple(cancelled)


class RunError(FlytebuildError):
    """Raised when a run ended in any state but success; `details` have frames of the user's, where there are any."""
