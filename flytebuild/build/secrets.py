"""The values of the secrets that build steps are given, by the ids that the session knows them under.

As secrets of the session they reach the steps that run, and no layer, digest or log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from flytebuild.config import Config
from flytebuild.errors import ConfigError, DefinitionError
from flytebuild.llb.trust import CA_BUNDLE, CA_PATH, CA_PATH_SECRET, INDEX_VARIABLES, secret_id
from flytebuild.spec.layers import Secret, secrets_of
from flytebuild.spec.model import ImageSpec

FOLDER = Path("/etc/secrets")
"""Where secrets lie as files, as for Flyte's own builder."""


def host_secrets(config: Config, environ: Mapping[str, str]) -> dict[str, bytes]:
    """What steps are given of the host's: the CA bundle it trusts and its package index settings.

    Raises ConfigError when the CA bundle cannot be read.
    """
    secrets = {name: environ[name].encode() for name in INDEX_VARIABLES if environ.get(name)}
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


def layer_secrets(specs: Iterable[ImageSpec], environ: Mapping[str, str], folder: Path = FOLDER) -> dict[str, bytes]:
    """The values of the secrets that the user's layers ask for: variables like `GROUP_KEY`, else files in `folder`.

    Raises DefinitionError for a secret that is in neither place, naming the layer; no value is ever part of a message.
    """
    found = {}
    for spec in specs:
        for step in spec.steps:
            for secret in secrets_of(step.layer):
                value = _value(secret, environ, folder)
                if value is None:
                    where = f" ({step.origin})" if step.origin else ""
                    raise DefinitionError(
                        f"`{step.layer.summary}`{where} needs the secret `{_name(secret)}`, and there is none",
                        hint=f"set the variable `{_variable(secret)}`, or put it into `{folder / _name(secret)}`",
                    )
                found[secret_id(secret)] = value
    return found


def _value(secret: Secret, environ: Mapping[str, str], folder: Path) -> bytes | None:
    # Flyte's builder asks for the name as it is, which no shell can set where it has a hyphen.
    for name in (_name(secret).upper(), _variable(secret)):
        if value := environ.get(name):
            return value.encode()
    try:
        return (folder / _name(secret)).read_bytes()
    except OSError:
        return None


def _variable(secret: Secret) -> str:
    return _name(secret).upper().replace("-", "_")


def _name(secret: Secret) -> str:
    return "_".join(filter(None, (secret.group, secret.key)))
