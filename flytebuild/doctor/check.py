"""One thing that was looked at, and what was found."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from flytebuild.errors import FlytebuildError

Status: TypeAlias = Literal["ok", "warning", "failed", "unknown"]


class Check(Struct, frozen=True):
    """One line about `subject`, and a hint at what to do about it.

    `failed` is what ends a build or a run, with `exit_code`; a `warning` does not, nor what is `unknown`: it could not
    be found out.
    """

    subject: str
    status: Status
    message: str
    hint: str = ""
    exit_code: int = 0


def ok(subject: str, message: str) -> Check:
    """As it should be."""
    return Check(subject, "ok", message)


def warning(subject: str, message: str, hint: str) -> Check:
    """Works, and not as well as it could."""
    return Check(subject, "warning", message, hint)


def unknown(subject: str, message: str, hint: str = "") -> Check:
    """Could not be found out."""
    return Check(subject, "unknown", message, hint)


def failed(subject: str, error: FlytebuildError) -> Check:
    """What a command that needs it ends with."""
    return Check(subject, "failed", error.message, error.hint or "", error.exit_code)


def exit_code(checks: tuple[Check, ...]) -> int:
    """The first failure's, or 0."""
    return next((check.exit_code for check in checks if check.status == "failed"), 0)
