"""What layers of several kinds may be given: secrets, and the options of uv."""

from __future__ import annotations

from msgspec import Struct

from flytebuild.spec.canonical import Document, Value


class Secret(Struct, frozen=True, order=True):
    """A secret that a step is given: as the variable `env`, or as a file at `target`. The value is never here."""

    group: str
    key: str
    env: str = ""
    target: str = ""

    def document(self) -> Document:
        fields = {"env": self.env, "group": self.group, "key": self.key, "target": self.target}
        return {name: value for name, value in fields.items() if value}


class PipOptions(Struct, frozen=True):
    """What every layer that installs with uv may be given.

    The order of `extra_index_urls` is their priority; `extra_args` is shell text and kept as it is.
    """

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str = ""
    secrets: tuple[Secret, ...] = ()

    def fields(self) -> dict[str, Value]:
        fields: dict[str, Value] = {}
        if self.index_url:
            fields["index_url"] = self.index_url
        if self.extra_index_urls:
            fields["extra_index_urls"] = list(self.extra_index_urls)
        if self.pre:
            fields["pre"] = True
        if self.extra_args:
            fields["extra_args"] = self.extra_args
        return fields | secret_fields(self.secrets)


NO_OPTIONS = PipOptions()
"""What a layer is given that is given nothing."""


def secret_fields(secrets: tuple[Secret, ...]) -> dict[str, Value]:
    """Sorted and without repeats: their order reaches no process."""
    return {"secrets": [secret.document() for secret in sorted(set(secrets))]} if secrets else {}


def extra_fields(text: str) -> dict[str, Value]:
    """The user's own shell text, where there is any."""
    return {"extra_args": text} if text else {}
