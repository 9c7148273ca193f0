"""Fetching the value of one secret from where the configuration says it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from flytebuild.programs import ask
from flytebuild.secret_source import SecretSource, variable_of

DEADLINE = 60.0
"""Seconds that a program may take to print a secret; some ask the user first."""

_SHOWN = 10
"""Lines of what a program complained that a message shows."""


class SecretMissingError(Exception):
    """Raised for a value that is not to be had; the text says why, and `hint` what to do."""

    def __init__(self, why: str, *, hint: str | None = None) -> None:
        super().__init__(why)
        self.hint = hint


def read(name: str, source: SecretSource, environ: Mapping[str, str]) -> bytes:
    """The value of a secret: a variable's or a file's as it is, or what a program prints without the last line's end.

    Raises SecretMissingError.
    """
    said = f"that is where `{source.configured}` says it is"
    match source.kind:
        case "env":
            if not (value := environ.get(source.text)):
                state = "empty" if source.text in environ else "not set"
                raise SecretMissingError(f"the variable `{source.text}` is {state}", hint=said)
            return value.encode("utf-8", "surrogateescape")
        case "env-file":
            return _listed(name, source, said)
        case "file":
            path = source.folder / Path(source.text).expanduser()
            try:
                return path.read_bytes()
            except OSError as error:
                raise SecretMissingError(f"`{path}` cannot be read ({error.strerror})", hint=said) from error
        case "keyring":
            return _kept(name, source, said)
        case "command":
            return _printed(source)


def _listed(name: str, source: SecretSource, said: str) -> bytes:
    """What an env file gives a variable; nothing in it stands for another variable's value."""
    place, _, variable = source.text.partition("#")
    path = source.folder / Path(place).expanduser()
    try:
        found = dotenv_values(stream=StringIO(path.read_text(encoding="utf-8")), interpolate=False)
    except OSError as error:
        raise SecretMissingError(f"`{path}` cannot be read ({error.strerror})", hint=said) from error
    except UnicodeDecodeError:
        # Not from that error: it has what stands there.
        raise SecretMissingError(f"`{path}` is not text", hint=said) from None
    for item in _spellings(name, variable):
        if value := found.get(item):
            return value.encode()
    raise SecretMissingError(f"`{path}` sets no `{variable or variable_of(name)}`", hint=said)


def _kept(name: str, source: SecretSource, said: str) -> bytes:
    """What the system's keyring has, by the backend that Python's `keyring` chooses."""
    import keyring
    from keyring.errors import KeyringError, NoKeyringError

    service, _, entry = source.text.partition("#")
    try:
        for item in _spellings(name, entry):
            if value := keyring.get_password(service, item):
                return value.encode()
    except KeyringError as error:
        # Not in a backend's own words, which may be anything.
        state = "there is none" if isinstance(error, NoKeyringError) else "it does not open"
        raise SecretMissingError(f"the keyring cannot be asked: {state} ({type(error).__name__})", hint=said) from None
    missing = entry or name
    hint = f"{said}; `keyring set {service} {missing}` puts it there"
    raise SecretMissingError(f"the keyring has no `{missing}` of `{service}`", hint=hint)


def _spellings(name: str, other: str) -> tuple[str, ...]:
    """What a secret may be called elsewhere: as it is written, then as shells can set it, or by another name alone."""
    return (other,) if other else tuple(dict.fromkeys((name, name.upper(), variable_of(name))))


def _printed(source: SecretSource) -> bytes:
    """What a program prints is shown to nobody, also where it fails; what it complains is."""
    said = f"`{source.configured}` says to run `{source.text}`"
    try:
        arguments = shlex.split(source.text)
        ended = ask(arguments, deadline=DEADLINE, folder=source.folder)
    except ValueError as error:
        raise SecretMissingError(f"its command cannot be understood ({error})", hint=said) from error
    except TimeoutError as error:
        raise SecretMissingError(f"`{arguments[0]}` gives {error}", hint=said) from error
    except OSError as error:
        raise SecretMissingError(f"`{arguments[0]}` cannot be run ({error.strerror})", hint=said) from error
    complaint = [line for line in ended.complaint.splitlines() if line.strip()][-_SHOWN:]
    hint = "\n".join((said, *complaint)) if complaint else said
    if ended.code:
        raise SecretMissingError(f"`{arguments[0]}` does not print it (exit code {ended.code})", hint=hint)
    if not (value := ended.output.removesuffix(b"\n")):
        raise SecretMissingError(f"`{arguments[0]}` prints nothing", hint=hint)
    return value
