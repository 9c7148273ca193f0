"""The values of the secrets that build steps are given, by the ids that the session knows them under.

As secrets of the session they reach the steps that run, and no layer, digest or log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from flytebuild import indexes
from flytebuild.build.secret_values import SecretMissingError, read
from flytebuild.config import Config
from flytebuild.errors import ConfigError, DefinitionError
from flytebuild.llb.proxies import proxies_of
from flytebuild.llb.trust import CA_BUNDLE, CA_PATH, CA_PATH_SECRET, secret_id
from flytebuild.secret_source import SecretSource, variable_of
from flytebuild.spec.layers import Secret, secrets_of
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.step import Step
from flytebuild.task_secrets import TaskSecrets

FOLDER = Path("/etc/secrets")
"""Where secrets lie as files, as for Flyte's own builder."""

_USER = re.compile(r"//([^/\s]+)@")
"""A URL's user name and password."""

LARGEST = 500 * 1024
"""Bytes of a secret that BuildKit's own clients send."""


def host_secrets(config: Config, environ: Mapping[str, str]) -> dict[str, bytes]:
    """What steps are given of the host's: the CA bundle it trusts and its package index settings.

    Raises ConfigError when the CA bundle cannot be read.
    """
    secrets = {name: value.encode() for name, value in indexes.of_host(environ).items()}
    if config.ca_bundle:
        try:
            secrets[CA_BUNDLE] = config.ca_bundle.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"The CA bundle `{config.ca_bundle}` cannot be read ({error.strerror})",
                hint="mend `ca_bundle` in the configuration, or `SSL_CERT_FILE`",
            ) from error
        secrets[CA_PATH_SECRET] = CA_PATH.encode()
    return secrets


def host_passwords(environ: Mapping[str, str]) -> Iterator[bytes]:
    """The passwords in the URLs that steps are given of the host's: package indexes and proxies.

    As they are written and as they are meant (`%40` is `@`); a name without a password is one: a token.
    """
    given = [environ.get(name, "") for name in indexes.VARIABLES]
    for text in (*given, *proxies_of(environ).variables().values()):
        for found in _USER.findall(text):
            name, colon, password = found.partition(":")
            secret = password if colon else name
            yield from (secret.encode(), unquote(secret).encode())


def layer_secrets(
    specs: Iterable[ImageSpec],
    environ: Mapping[str, str],
    sources: Mapping[str, SecretSource] = MappingProxyType({}),
    folder: Path = FOLDER,
) -> dict[str, bytes]:
    """The values of the secrets that the user's layers ask for, each from where `sources` says by its name.

    Those that it does not say are variables like `GROUP_KEY`, else files in `folder`. Programs are run, which may take
    a while. Raises DefinitionError for a secret that is not where it should be, naming the layer; no value is ever part
    of a message.
    """
    found: dict[str, bytes] = {}
    for step, secret in _wanted(specs):
        found[secret_id(secret)] = _value(step, secret, _source(secret, sources), environ, folder)
    return found


def missing_secrets(
    specs: Iterable[ImageSpec],
    environ: Mapping[str, str],
    sources: Mapping[str, SecretSource] = MappingProxyType({}),
    folder: Path = FOLDER,
) -> Iterator[str]:
    """For each secret that `layer_secrets` would not find, what it would say, as one sentence.

    No program is run and no keyring asked.
    """
    for step, secret in _wanted(specs):
        source = _source(secret, sources)
        if source and source.kind in ("command", "keyring"):
            continue
        try:
            _value(step, secret, source, environ, folder)
        except DefinitionError as error:
            yield "; ".join(filter(None, (error.message, error.hint)))


def task_secrets(
    names: Iterable[str],
    environ: Mapping[str, str],
    sources: Mapping[str, SecretSource] = MappingProxyType({}),
    folder: Path = FOLDER,
) -> TaskSecrets:
    """The values of secrets that tasks ask for, by name: `GROUP_KEY`.

    They are looked for where those of layers are. One that is missing is no error: a task that is not run needs none.
    """
    values: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in names:
        source = _configured(name, sources)
        try:
            values[name] = _text(read(name, source, environ) if source else _by_name(name, environ, folder))
        except SecretMissingError as problem:
            # A source's own hint has the program and what it complained: for a terminal, not for what is kept.
            hint = f"that is where `{source.configured}` says it is" if source else problem.hint
            missing[name] = "; ".join(filter(None, (str(problem), hint)))
    return TaskSecrets(values, missing)


def _text(value: bytes) -> str:
    """A value that a variable can hold: of one that it cannot, not every runtime keeps silent."""
    try:
        if b"\0" not in value:
            return value.decode()
    except UnicodeDecodeError:
        pass
    # Not from the error above: that one has the value.
    raise SecretMissingError("it is not text")


def _wanted(specs: Iterable[ImageSpec]) -> Iterator[tuple[Step, Secret]]:
    """Each secret once, with the first step that needs it."""
    seen = set[str]()
    for spec in specs:
        for step in spec.steps:
            for secret in secrets_of(step.layer):
                if (identifier := secret_id(secret)) not in seen:
                    seen.add(identifier)
                    yield step, secret


def _source(secret: Secret, sources: Mapping[str, SecretSource]) -> SecretSource | None:
    return _configured(_name(secret), sources)


def _configured(name: str, sources: Mapping[str, SecretSource]) -> SecretSource | None:
    return {variable_of(known): source for known, source in sources.items()}.get(variable_of(name))


def _value(step: Step, secret: Secret, source: SecretSource | None, environ: Mapping[str, str], folder: Path) -> bytes:
    try:
        value = read(_name(secret), source, environ) if source else _by_name(_name(secret), environ, folder)
        if len(value) > LARGEST:
            raise SecretMissingError(f"it has {len(value)} bytes, of which BuildKit takes {LARGEST}")
    except SecretMissingError as problem:
        where = f" ({step.origin})" if step.origin else ""
        raise DefinitionError(
            f"`{step.layer.summary}`{where} needs the secret `{_name(secret)}`, and {problem}", hint=problem.hint
        ) from problem
    return value


def _by_name(name: str, environ: Mapping[str, str], folder: Path) -> bytes:
    # Flyte's builder asks for the name as it is, which no shell can set where it has a hyphen.
    for variable in (name.upper(), variable_of(name)):
        if value := environ.get(variable):
            return value.encode("utf-8", "surrogateescape")
    try:
        return (folder / name).read_bytes()
    except OSError:
        raise SecretMissingError(
            "there is none",
            hint=f"set the variable `{variable_of(name)}`, put it into `{folder / name}`, or say where it is with "
            f"`--secret {name}=…` or in `[tool.flytebuild.secrets]`",
        ) from None


def _name(secret: Secret) -> str:
    return "_".join(filter(None, (secret.group, secret.key)))
