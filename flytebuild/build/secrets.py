"""What build steps are given of the host's: the CA bundle it trusts and its package index settings.

As secrets of the session they reach the steps that run, and no layer, digest or log.
"""

from __future__ import annotations

from collections.abc import Mapping

from flytebuild.config import Config
from flytebuild.errors import ConfigError
from flytebuild.llb.lower import CA_BUNDLE, CA_PATH, CA_PATH_SECRET, INDEX_VARIABLES


def step_secrets(config: Config, environ: Mapping[str, str]) -> dict[str, bytes]:
    """Secret values by id. Raises ConfigError when the CA bundle cannot be read."""
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
