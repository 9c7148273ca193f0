"""What every step of a build finds of the host's: the CA bundle it trusts and its package index settings.

As secrets of the session their values are part of no layer and no cache key. BuildKit sets a variable whose secret the
session does not have to the empty string: uv takes that for none, but for curl and OpenSSL it is a bundle that cannot
be read. So steps name a bundle only where there is one.
"""

from __future__ import annotations

from flytebuild import indexes
from flytebuild.llb.run import SecretFile, SecretVariable
from flytebuild.spec.layers import Secret

CA_BUNDLE = "flytebuild.ca-bundle"
"""The session's secret with the PEM bundle that steps trust."""

CA_PATH = "/run/flytebuild-ca.crt"
"""Right below a folder that images have, so that nothing has to be made for it."""

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
CA_PATH_SECRET = "flytebuild.ca-path"  # noqa: S105 - the name of a secret
"""The session's secret that holds CA_PATH, where there is a bundle."""

BUNDLE_FILES = (SecretFile(CA_PATH, CA_BUNDLE),)
BUNDLE_VARIABLES = tuple(SecretVariable(name, CA_PATH_SECRET) for name in CA_VARIABLES)
INDEXES = tuple(SecretVariable(name, name) for name in indexes.VARIABLES)
"""Package index settings of the host; the secret's id is the name."""

_FILE_MODE = 0o400


def secret_id(secret: Secret) -> str:
    """What the session calls a secret of the user's, whichever way a step is given it."""
    return f"user/{secret.group}/{secret.key}"


def variables(secrets: tuple[Secret, ...]) -> tuple[SecretVariable, ...]:
    """The user's secrets that a step is given as environment variables; it fails without them."""
    return tuple(SecretVariable(item.env, secret_id(item), required=True) for item in secrets if item.env)


def files(secrets: tuple[Secret, ...]) -> tuple[SecretFile, ...]:
    """The user's secrets that a step is given as files."""
    return tuple(
        SecretFile(item.target, secret_id(item), required=True, mode=_FILE_MODE) for item in secrets if item.target
    )
