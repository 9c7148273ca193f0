"""Lints about secrets: what an image or a definition holds is no place for them. Their values are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from flytebuild.check.finding import Finding, split_place
from flytebuild.check.subject import Subject
from flytebuild.spec.layers import Command
from flytebuild.spec.model import ImageDefinition, SetEnv

_NAMES = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY|AUTH_KEY|CREDENTIALS?)$",
    re.IGNORECASE,
)
_FORMS = re.compile(
    r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{40,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|sk-[\w-]{20,}|AKIA[A-Z0-9]{16}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|npm_\w{36}|pypi-[\w-]{50,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:(?P<password>[^\s/@]+)@", re.IGNORECASE)
_ASSIGNED = re.compile(r"""\b(?P<name>[A-Za-z_]\w*)=(?P<quote>["']?)(?P<value>[^\s"';&|]+)""")
_NO_SECRETS = frozenset({"true", "false", "none", "null", "changeme", "placeholder", "disabled", "enabled", "unused"})
_FILES = re.compile(r"\.(?:json|ya?ml|toml|ini|cfg|conf|env|txt|pem|key|crt|netrc)$", re.IGNORECASE)
_SHORTEST = 8
"""Passwords are longer; what is shorter is a mode or a number."""


def examine(subjects: Sequence[Subject]) -> Iterator[Finding]:
    """A finding for each variable and command that seems to hold a secret, once for each place in the code."""
    told: set[tuple[str, str]] = set()
    for subject in subjects:
        for finding in (*_in_image(subject), *_in_variables(subject)):
            if (finding.place, finding.message) not in told:
                told.add((finding.place, finding.message))
                yield finding


def _in_image(subject: Subject) -> Iterator[Finding]:
    image = subject.image
    for placed in image.parts if isinstance(image, ImageDefinition) else ():
        file, line = split_place(placed.origin)
        match placed.part:
            case SetEnv(pairs=pairs):
                hint = "pass it to a step with `secret_mounts`, or to tasks with `secrets=flyte.Secret(…)`"
                for name in _suspects(pairs):
                    message = f"The variable `{name}` of an image seems to hold a secret"
                    yield Finding("secret-in-image", "warning", message, subject.name, file, line, hint)
            case Command() as command:
                text = command.shell or " ".join(command.args)
                pairs = tuple((match["name"], match["value"]) for match in _ASSIGNED.finditer(text))
                if _suspects(pairs) or _is_secret("", text):
                    message = "A command of an image seems to hold a secret"
                    hint = "pass it with `secret_mounts`, which leaves nothing in the image"
                    yield Finding("secret-in-image", "warning", message, subject.name, file, line, hint)


def _in_variables(subject: Subject) -> Iterator[Finding]:
    file, line = split_place(subject.origin)
    for name in _suspects(tuple(subject.variables.items())):
        message = f"The variable `{name}` of `{subject.name}` seems to hold a secret"
        hint = "ask for it with `secrets=flyte.Secret(…)`"
        yield Finding("secret-in-variable", "warning", message, subject.name, file, line, hint)


def _suspects(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [name for name, value in pairs if _is_secret(name, value)]


def _is_secret(name: str, value: str) -> bool:
    if _FORMS.search(value) or any("$" not in match["password"] for match in _URL.finditer(value)):
        return True
    # A path, a reference to another variable or to a secret's name, or a word of prose is none.
    is_plain = not value.startswith(("/", "$", "~", ".", "<", "{", "http://", "https://")) and " " not in value
    is_other = value.isdecimal() or bool(_FILES.search(value)) or value.lower() in _NO_SECRETS
    return bool(_NAMES.search(name)) and is_plain and len(value) >= _SHORTEST and not is_other
