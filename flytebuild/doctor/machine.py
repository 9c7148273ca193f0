"""This machine: versions, and what is trusted."""

from __future__ import annotations

import importlib.metadata
import platform
import ssl
from pathlib import Path

from packaging.requirements import Requirement

from flytebuild.config import Config
from flytebuild.doctor.check import Check, failed, ok
from flytebuild.errors import ConfigError, UsageError


def examine_machine(config: Config) -> tuple[Check, ...]:
    """What needs no look outside."""
    return (_flyte(), _bundle(config))


def _flyte() -> Check:
    needed = [Requirement(text) for text in importlib.metadata.requires("flytebuild") or ()]
    found = importlib.metadata.version("flyte")
    wanted = next(item.specifier for item in needed if item.name == "flyte")
    ours = f"flytebuild {importlib.metadata.version('flytebuild')} on Python {platform.python_version()}"
    if not wanted.contains(found, prereleases=True):
        hint = f"`pip install 'flyte{wanted}'`"
        return failed("flyte", UsageError(f"flyte {found} is none that {ours} knows: it needs {wanted}", hint=hint))
    return ok("flyte", f"flyte {found}, {ours}")


def _bundle(config: Config) -> Check:
    bundle = config.ca_bundle
    if bundle is None:
        return ok("ca bundle", "none is given to steps and tasks")
    source = config.sources.get("ca_bundle", "ca_bundle")
    try:
        count = _certificates(bundle)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        hint = f"it must be a PEM file of certificates; mend `{source}`"
        return failed("ca bundle", ConfigError(f"`{bundle}` cannot be used ({reason})", hint=hint))
    authorities = "one authority" if count == 1 else f"{count} authorities"
    return ok("ca bundle", f"`{bundle}` with {authorities}, from `{source}`")


def _certificates(bundle: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    return int(context.cert_store_stats()["x509_ca"])
