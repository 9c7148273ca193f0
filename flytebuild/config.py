"""Where settings come from: `[tool.flytebuild]` in pyproject.toml < flytebuild.toml < `FLYTEBUILD_*` < flags.

Both files are looked for in the given folder and then upwards; the nearest of each kind counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild import folders
from flytebuild.config_values import (
    PREFIX,
    Compression,
    ProgressMode,
    WheelLayers,
    convert,
    is_variable,
    parse_variable,
)
from flytebuild.errors import ConfigError
from flytebuild.secret_source import SecretSource

_NO_SETTINGS = {"FLYTEBUILD_TRACEBACK"}
"""Variables that are for this very command, and for no configuration."""

BUILDKIT_HOST = "BUILDKIT_HOST"
"""The variable by which BuildKit's own tools find it; it counts as `FLYTEBUILD_BUILDER` does, which comes after it."""

DEFAULT_PORT = 8199
"""The control plane's port: fixed, since Flyte's configuration file names it."""

LOCK = "flytebuild.lock"
"""What a lock is called, beside the configuration of its project."""

_OPTIONS = {"platforms": "--platform", "secrets": "--secret"}
"""What options are called that may be given several times."""


class Config(Struct, frozen=True):
    """flytebuild's settings; every field is a key of the configuration files.

    `registry` is `host[:port][/path]`, where images are pushed to; without it they land in the engine's own store.
    `mirrors` maps a registry or a path in one to what stands in for it: `{"ghcr.io": "127.0.0.1:5000/ghcr.io"}`.
    `secrets` says where secrets of build steps are taken from, by their names: `{"HF_TOKEN": "file:~/.hf-token"}`.
    `ca_bundle` is a PEM file that build steps and tasks trust; it enters no layer and no digest.
    `cache` is the repository of the remote cache, `local:FOLDER`, `inline` (in the images themselves) or `off`;
    without it `flytebuild-cache` in `registry`.
    `compression` is that of the layers that are pushed.
    `jobs` bounds the images that are solved at the same time.
    `push_timeout` is for how many seconds nothing may be heard of a push, and of its registry, before it is given up.
    `builder` has the addresses of BuildKits that are no Docker Engines, `tcp://build.example:1234`: several are one
    fleet, none means the engine's own. `builder_ca`, `builder_cert` and `builder_key` are PEM files for TLS with them,
    and `builder_server_name` is what a certificate says where that is another name than the address has.
    `platforms` are those that images are built for, `linux/amd64`; none means the builder's own.
    `progress` is how a build is followed: `auto` decides by where standard error goes.
    `stat_cache` remembers the digests of files that did not change since; without it every file is read again.
    `strict_imports` wants every package that the code imports on this machine.
    `home` is the folder of the control plane: its log, its runs and its objects.
    `warm` lets all tasks of all runs share warm containers, not only those of environments with a `ReusePolicy`.
    `storage` is where objects are kept, if not in `home`: `s3://BUCKET/PREFIX`, with the credentials that AWS's tools
    take; `storage_endpoint` and `storage_region` are for a store that is not Amazon's, or not in `us-east-1`.
    `contact_timeout` is for how many seconds a task's container may run without a request to the control plane.
    `lock` is the file that says which versions are installed: by default `flytebuild.lock`, beside the configuration
    file, else beside the project's `pyproject.toml`, else in the current folder. It may be missing, unless `locked`
    wants everything to be in it.
    `wheel_layers` is whether packages that are locked become layers that images share (`auto`: where that comes to the
    same) or are installed step by step (`off`). With `always` they do so without a lock, too: versions are then those
    of the day, and images others when indexes have newer ones.
    `ignore` are rules of `flytebuild check` that are off.
    `offline` lets nobody be asked over a network; what was answered before counts, and what was not is unknown.
    `fresh` is for how many seconds `flytebuild plan` takes an answer of a registry or an engine as it is, and
    `fresh_for_runs` for how many a run does, where it needs nothing that is not there by those answers.

    `sources` is no key: it says what set the keys that are set, in words for messages.
    """

    registry: str | None = None
    mirrors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, SecretSource] = field(default_factory=lambda: MappingProxyType({}))
    ca_bundle: Path | None = None
    cache: str | None = None
    compression: Compression = "zstd"
    jobs: int = 4
    push_timeout: int = 300
    contact_timeout: int = 600
    storage: str | None = None
    storage_endpoint: str | None = None
    storage_region: str = "us-east-1"
    builder: tuple[str, ...] = ()
    builder_ca: Path | None = None
    builder_cert: Path | None = None
    builder_key: Path | None = None
    builder_server_name: str | None = None
    platforms: tuple[str, ...] = ()
    progress: ProgressMode = "auto"
    stat_cache: bool = True
    strict_imports: bool = False
    warm: bool = False
    port: int = DEFAULT_PORT
    home: Path = field(default_factory=folders.home)
    lock: Path | None = None
    locked: bool = False
    wheel_layers: WheelLayers = "auto"
    ignore: tuple[str, ...] = ()
    offline: bool = False
    fresh: int = 10
    fresh_for_runs: int = 300
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


KEYS = tuple(name for name in Config.__struct_fields__ if name != "sources")
"""What may be set."""


def load(folder: Path, environ: Mapping[str, str] | None = None, **flags: Any) -> Config:
    """Read all sources for a command that works in `folder`; `flags` that are None do not count.

    Raises ConfigError for an unknown key (naming the nearest one), a value that cannot be, or a CA bundle that cannot
    be read.
    """
    environ = os.environ if environ is None else environ
    settings: dict[str, Any] = {}
    sources: dict[str, str] = {}

    def take(key: str, value: Any, source: str, folder: Path) -> None:
        if key not in KEYS:
            raise _unknown(key, source)
        converted = convert(key, value, source, folder)
        # Each secret is a setting of its own: to say where one is takes no other away.
        settings[key] = {**settings.get(key, {}), **converted} if key == "secrets" else converted
        sources[key] = source

    tables = _tables(folder)
    for path, table in tables:
        for key, value in table.items():
            take(key, value, str(path), path.parent)
    if environ.get(BUILDKIT_HOST):
        take("builder", environ[BUILDKIT_HOST], BUILDKIT_HOST, Path.cwd())
    for name, value in environ.items():
        if is_variable(name) and name not in _NO_SETTINGS:
            key = name.removeprefix(PREFIX).lower()
            take(key, parse_variable(key, value, name), name, Path.cwd())
    for key, value in flags.items():
        if value is not None:
            take(key, value, _OPTIONS.get(key, f"--{key}"), Path.cwd())
    config = replace(Config(), **settings, sources=MappingProxyType(sources))
    if config.ca_bundle is None and (bundle := environ.get("SSL_CERT_FILE")) and Path(bundle).is_file():
        # A host that trusts a private CA this way has steps and tasks that must trust it too.
        sources["ca_bundle"] = "SSL_CERT_FILE"
        config = replace(config, ca_bundle=Path(bundle), sources=MappingProxyType(sources))
    _refuse_unreadable(config.ca_bundle)
    return config if config.lock else replace(config, lock=_project(folder, [path for path, _ in tables]) / LOCK)


def _project(folder: Path, configured: Sequence[Path]) -> Path:
    """The folder of the project that a command works for."""
    if configured:
        return configured[-1].parent
    folders = (folder.resolve(), *folder.resolve().parents)
    return next((item for item in folders if (item / "pyproject.toml").is_file()), folder.resolve())


def _unknown(key: str, source: str) -> ConfigError:
    import difflib

    nearest = difflib.get_close_matches(key, KEYS, 1)
    if is_variable(source):
        names = [f"`{PREFIX}{known.upper()}`" for known in nearest or KEYS]
        hint = f"did you mean {names[0]}?" if nearest else "known ones: " + ", ".join(names)
        return ConfigError(f"The variable `{source}` stands for no setting", hint=hint)
    if key == "tool":
        hint = "write the keys of `[tool.flytebuild]` without a table's name; only `pyproject.toml` needs it"
    else:
        hint = f"did you mean `{nearest[0]}`?" if nearest else "known keys: " + ", ".join(f"`{k}`" for k in KEYS)
    return ConfigError(f"`{source}` has an unknown key `{key}`", hint=hint)


def _refuse_unreadable(bundle: Path | None) -> None:
    """Say so before any work is done with less trust than was asked for."""
    try:
        if bundle:
            bundle.open("rb").close()
    except OSError as error:
        raise ConfigError(
            f"The CA bundle `{bundle}` cannot be read ({error.strerror})",
            hint="mend `ca_bundle` in the configuration, or `FLYTEBUILD_CA_BUNDLE`",
        ) from error


def _tables(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The tables found, the weakest first."""
    found = []
    for file_name, keys in (("pyproject.toml", ("tool", "flytebuild")), ("flytebuild.toml", ())):
        for parent in (folder.resolve(), *folder.resolve().parents):
            path = parent / file_name
            if path.is_file():
                table = _read(path)
                for key in keys:
                    table = table.get(key, {})
                    if not isinstance(table, dict):
                        raise ConfigError(f"`{'.'.join(keys)}` in `{path}` must be a table")
                if table or not keys:
                    found.append((path, table))
                    break
    return found


def _read(path: Path) -> dict[str, Any]:
    # Loaded here: many users have no such file.
    import tomli

    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"`{path}` cannot be read: {reason}") from error
