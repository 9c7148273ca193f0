"""Where settings come from: `[tool.flytebuild]` in pyproject.toml < flytebuild.toml < `FLYTEBUILD_*` < flags.

Both files are looked for in the given folder and then upwards; the nearest of each kind counts.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import platformdirs
import tomli

from flytebuild.errors import ConfigError
from flytebuild.secret_source import FORMS, SecretSource

_PREFIX = "FLYTEBUILD_"
_NO_SETTINGS = {"FLYTEBUILD_TRACEBACK"}
"""Variables that are for this very command, and for no configuration."""

BUILDKIT_HOST = "BUILDKIT_HOST"
"""The variable by which BuildKit's own tools find it; it counts as `FLYTEBUILD_BUILDER` does, which comes after it."""

DEFAULT_PORT = 8199
"""The control plane's port: fixed, since Flyte's configuration file names it."""

_BOUNDS = {"jobs": 64, "port": 65535, "push_timeout": 86_400, "contact_timeout": 86_400, "fresh": 86_400}
"""The largest value of the keys that are whole numbers; the smallest is 1, but for those in `_FROM_ZERO`."""

_FROM_ZERO = ("fresh",)

_SWITCHES = ("stat_cache", "strict_imports", "warm", "locked", "offline")

LOCK = "flytebuild.lock"
"""What a lock is called, beside the configuration of its project."""

_PATHS = ("ca_bundle", "home", "lock", "builder_ca", "builder_cert", "builder_key")

ProgressMode: TypeAlias = Literal["auto", "tty", "plain", "json"]
Compression: TypeAlias = Literal["zstd", "gzip"]

WheelLayers: TypeAlias = Literal["auto", "always", "off"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "compression": get_args(Compression),
    "progress": get_args(ProgressMode),
    "wheel_layers": get_args(WheelLayers),
}

_OPTIONS = {"platforms": "--platform", "secrets": "--secret"}
"""What options are called that may be given several times."""

_NEXT_SECRET = re.compile(r",(?=[^,=]+=\s*(?:env|env-file|file|command):)")

PLATFORMS = ("linux/amd64", "linux/arm64")
"""What Flyte runs on."""

_STORAGE = {
    "storage": (re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}(?:/[^/?#\s]+)*"), "`s3://BUCKET` or `s3://BUCKET/PREFIX`"),
    "storage_endpoint": (re.compile(r"https?://[^/?#\s]+(?:/[^?#\s]*)?"), "`https://HOST` or `http://HOST:PORT`"),
    "storage_region": (re.compile(r"[a-z0-9-]+"), "a region's name, such as `eu-central-1`"),
}

_REGISTRY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?(?:/[a-z0-9._-]+)*")


@dataclass(frozen=True, slots=True)
class Config:
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
    `fresh` is for how many seconds `flytebuild plan` takes an answer of a registry or an engine as it is.

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
    home: Path = field(default_factory=lambda: Path(platformdirs.user_data_dir("flytebuild", appauthor=False)))
    lock: Path | None = None
    locked: bool = False
    wheel_layers: WheelLayers = "auto"
    ignore: tuple[str, ...] = ()
    offline: bool = False
    fresh: int = 10
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)


KEYS = tuple(item.name for item in fields(Config) if item.name != "sources")
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
        converted = _convert(key, value, source, folder)
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
        if _is_variable(name) and name not in _NO_SETTINGS:
            key = name.removeprefix(_PREFIX).lower()
            take(key, _parse_variable(key, value, name), name, Path.cwd())
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


def _is_variable(source: str) -> bool:
    return source.startswith(_PREFIX)


def _unknown(key: str, source: str) -> ConfigError:
    nearest = difflib.get_close_matches(key, KEYS, 1)
    if _is_variable(source):
        names = [f"`{_PREFIX}{known.upper()}`" for known in nearest or KEYS]
        hint = f"did you mean {names[0]}?" if nearest else "known ones: " + ", ".join(names)
        return ConfigError(f"The variable `{source}` stands for no setting", hint=hint)
    if key == "tool":
        hint = "write the keys of `[tool.flytebuild]` without a table's name; only `pyproject.toml` needs it"
    else:
        hint = f"did you mean `{nearest[0]}`?" if nearest else "known keys: " + ", ".join(f"`{k}`" for k in KEYS)
    return ConfigError(f"`{source}` has an unknown key `{key}`", hint=hint)


def _least(key: str) -> int:
    return 0 if key in _FROM_ZERO else 1


def _out_of_bounds(key: str, value: object, source: str) -> ConfigError:
    is_quoted = isinstance(value, str) and value.isdecimal()
    return ConfigError(
        f"`{key}` must be a whole number from {_least(key)} to {_BOUNDS[key]}, not "
        + (f'the text `"{value}"`' if is_quoted else f"`{value}`")
        + f" (in `{source}`)",
        hint=f"write `{key} = {value}`, without quotes" if is_quoted else None,
    )


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
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"`{path}` cannot be read: {error}") from error


def _parse_variable(key: str, value: str, source: str) -> Any:
    """An environment variable's text as the TOML value it stands for; mirrors are `from=to,from=to`."""
    if key in _BOUNDS:
        try:
            return int(value)
        except ValueError:
            raise _out_of_bounds(key, value, source) from None
    if key == "mirrors":
        pairs = [item.partition("=") for item in value.split(",") if item]
        return {name.strip(): target.strip() for name, _, target in pairs}
    if key == "secrets":
        # A command may have commas in it.
        pairs = [item.partition("=") for item in _NEXT_SECRET.split(value) if item.strip()]
        return {name.strip(): where.strip() for name, _, where in pairs}
    if key in ("platforms", "builder", "ignore"):
        return [item.strip() for item in value.split(",") if item.strip()]
    if key in _SWITCHES and value.lower() in ("0", "1", "false", "true"):
        return value.lower() in ("1", "true")
    return value


def _convert(key: str, value: Any, source: str, folder: Path) -> Any:
    """Check one setting and give it its type; relative paths are relative to `folder`."""
    if key not in KEYS:
        raise _unknown(key, source)
    if key in _BOUNDS:
        if isinstance(value, bool) or not isinstance(value, int) or not _least(key) <= value <= _BOUNDS[key]:
            raise _out_of_bounds(key, value, source)
        return value
    if key == "mirrors":
        if not isinstance(value, dict) or not all(isinstance(v, str) and v for v in value.values()):
            example = '{ "ghcr.io" = "registry.example.com/ghcr.io" }'
            raise ConfigError(
                f"`{key}` in `{source}` must say what stands in for each registry",
                hint="for example: "
                + ("ghcr.io=registry.example.com/ghcr.io" if _is_variable(source) else f"mirrors = {example}"),
            )
        targets = {name: target.rstrip("/") for name, target in value.items()}
        for target in targets.values():
            _refuse_no_registry(key, target, source)
        return MappingProxyType(targets)
    if key == "secrets":
        return _secret_sources(value, source, folder)
    if key == "platforms":
        return _platforms(value, source)
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            choices = ", ".join(f"`{choice}`" for choice in _CHOICES[key])
            raise ConfigError(f"`{key}` in `{source}` must be one of {choices}, not `{value}`")
        return value
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise ConfigError(f"`{key}` in `{source}` must be true or false")
        return value
    if key == "builder":
        # What an address may be is known where it is used.
        addresses = [value] if isinstance(value, str) else value
        if not isinstance(addresses, (list, tuple)) or not all(isinstance(item, str) for item in addresses):
            raise ConfigError(f"`{key}` in `{source}` must be an address, or a list of addresses")
        return tuple(dict.fromkeys(item for item in addresses if item))
    if key == "ignore":
        # Which rules there are is known where they are checked.
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"`{key}` in `{source}` must be a list of rules")
        return tuple(dict.fromkeys(value))
    if not isinstance(value, str):
        raise ConfigError(f"`{key}` in `{source}` must be a string")
    if key in _PATHS:
        if not value:
            raise ConfigError(f"`{key}` in `{source}` is empty", hint="give a path, or leave the key out")
        return (folder / Path(value).expanduser()).resolve()
    if key == "builder_server_name":
        return value or None
    if key in _STORAGE:
        return _storage(key, value, source)
    value = value.rstrip("/")
    if key == "cache" and value.startswith("local:"):
        place = value.removeprefix("local:")
        if not place:
            raise ConfigError(f"`{key}` in `{source}` names no folder", hint="write `local:FOLDER`")
        return f"local:{(folder / Path(place).expanduser()).resolve()}"
    if key == "cache" and "/" not in value and value not in ("", "inline", "off"):
        raise ConfigError(
            f"`{key}` in `{source}` is `{value}`, which is not a repository",
            hint="write `host/path`, or `local:FOLDER`, or `inline`, or `off`",
        )
    if value:
        _refuse_no_registry(key, value, source)
    return value or None


def _storage(key: str, value: str, source: str) -> str | None:
    """What says where objects are; who may reach them is no setting."""
    pattern, form = _STORAGE[key]
    value = value.rstrip("/")
    if "@" in value:
        raise ConfigError(
            f"`{key}` in `{source}` must be without credentials",
            hint="`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` have them, or the profile of `AWS_PROFILE`",
        )
    if value and not pattern.fullmatch(value):
        raise ConfigError(f"`{key}` in `{source}` is `{value}`", hint=f"write {form}")
    return value or None


def _secret_sources(value: Any, source: str, folder: Path) -> Mapping[str, SecretSource]:
    """What is not of the right form may be the secret itself, and is not repeated."""
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"`secrets` in `{source}` must be a table that says where each is taken from",
            hint=f'{FORMS}, for example: secrets = {{ HF_TOKEN = "file:~/.hf-token" }}',
        )
    found = {}
    for name, where in value.items():
        try:
            if not name or not isinstance(where, str):
                raise ValueError
            found[name] = SecretSource.parse(where, folder, source)
        except ValueError:
            raise ConfigError(
                f"`secrets` in `{source}` does not say where `{name}` is taken from",
                hint=f"write {FORMS}; the value itself has no place there",
            ) from None
    return MappingProxyType(found)


def _platforms(value: object, source: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(
            f"`platforms` in `{source}` must be a list of platforms", hint='for example: platforms = ["linux/amd64"]'
        )
    for item in value:
        if item not in PLATFORMS:
            known = " or ".join(f"`{platform}`" for platform in PLATFORMS)
            raise ConfigError(f"`{item}` is not a platform that Flyte runs on (in `{source}`)", hint=f"use {known}")
    return tuple(dict.fromkeys(value))


def _refuse_no_registry(key: str, value: str, source: str) -> None:
    """Refuse what cannot stand before the name of an image.

    What is configured is shown, and is in command lines: no place for a password. Such a value is not repeated.
    """
    if "@" in value:
        raise ConfigError(
            f"`{key}` in `{source}` must be a registry without credentials",
            hint="`docker login` keeps credentials where flytebuild finds them",
        )
    if not _REGISTRY.fullmatch(value):
        raise ConfigError(
            f"`{key}` in `{source}` is `{value}`, which is not a registry",
            hint="write `host`, `host:port` or `host/path`, without `https://` and in small letters",
        )
