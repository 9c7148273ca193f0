"""Where a secret's value is to be found, as somebody configured it. The value itself is never here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

Kind: TypeAlias = Literal["env", "env-file", "file", "keyring", "command"]

FORMS = "`env:VARIABLE`, `env-file:PATH`, `file:PATH`, `keyring:SERVICE` or `command:PROGRAM ARGUMENTS`"


class SecretSource(Struct, frozen=True):
    """A variable, one in an env file, a file, an entry of the system's keyring, or a program that prints the value.

    An env file has the secret under its own name's variable, the keyring under its own name, or both under the one that
    the path or the service is followed by after a `#`.
    `text` is what stands after the colon; relative paths in it, and the program itself, are relative to `folder`.
    `configured` is what said so, for messages.
    """

    kind: Kind
    text: str
    folder: Path
    configured: str

    @classmethod
    def parse(cls, text: str, folder: Path, configured: str) -> SecretSource:
        """Read `kind:text`. Raises ValueError, which does not repeat what may be a value."""
        kind, colon, rest = text.partition(":")
        for known in get_args(Kind):
            if kind == known and colon and rest.strip():
                return cls(known, rest.strip(), folder, configured)
        raise ValueError(f"a secret is taken from {FORMS}")


def variable_of(name: str) -> str:
    """The environment variable of a secret's name, `MY_GROUP_KEY` of `my-group_key`; names are compared by it, too."""
    return name.upper().replace("-", "_")
