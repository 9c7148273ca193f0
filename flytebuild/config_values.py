"""What the value of each setting may be: checked, and given its type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from flytebuild.errors import ConfigError
from flytebuild.secret_source import FORMS, SecretSource

PREFIX = "FLYTEBUILD_"
"""What the variables of settings begin with."""

_DAY = 86_400
_BOUNDS = {
    "jobs": 64,
    "port": 65535,
    "push_timeout": _DAY,
    "contact_timeout": _DAY,
    "fresh": _DAY,
    "fresh_for_runs": _DAY,
}
"""The largest value of the keys that are whole numbers; the smallest is 1, but for those in `_FROM_ZERO`."""

_FROM_ZERO = ("fresh", "fresh_for_runs")

_SWITCHES = ("stat_cache", "strict_imports", "warm", "locked", "offline")

_PATHS = ("ca_bundle", "home", "lock", "builder_ca", "builder_cert", "builder_key")

ProgressMode: TypeAlias = Literal["auto", "tty", "plain", "json"]
Compression: TypeAlias = Literal["zstd", "gzip"]

WheelLayers: TypeAlias = Literal["auto", "always", "off"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "compression": get_args(Compression),
    "progress": get_args(ProgressMode),
    "wheel_layers": get_args(WheelLayers),
}

# Texts, compiled where a setting has such a value.
_NEXT_SOURCE = r",(?=[^,=]+=\s*(?:env|env-file|file|command):)"

PLATFORMS = ("linux/amd64", "linux/arm64")
"""What Flyte runs on."""

_STORAGE = {
    "storage": (r"s3://[a-z0-9][a-z0-9.-]{1,62}(?:/[^/?#\s]+)*", "`s3://BUCKET` or `s3://BUCKET/PREFIX`"),
    "storage_endpoint": (r"https?://[^/?#\s]+(?:/[^?#\s]*)?", "`https://HOST` or `http://HOST:PORT`"),
    "storage_region": (r"[a-z0-9-]+", "a region's name, such as `eu-central-1`"),
}

_REGISTRY = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?(?:/[a-z0-9._-]+)*"


def parse_variable(key: str, value: str, source: str) -> Any:
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
        pairs = [item.partition("=") for item in re.split(_NEXT_SOURCE, value) if item.strip()]
        return {name.strip(): where.strip() for name, _, where in pairs}
    if key in ("platforms", "builder", "ignore"):
        return [item.strip() for item in value.split(",") if item.strip()]
    if key in _SWITCHES and value.lower() in ("0", "1", "false", "true"):
        return value.lower() in ("1", "true")
    return value


def convert(key: str, value: Any, source: str, folder: Path) -> Any:
    """Check one setting of a known key and give it its type; relative paths are relative to `folder`.

    Raises ConfigError.
    """
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
                + ("ghcr.io=registry.example.com/ghcr.io" if is_variable(source) else f"mirrors = {example}"),
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
    if value and not re.fullmatch(pattern, value):
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
    if not re.fullmatch(_REGISTRY, value):
        raise ConfigError(
            f"`{key}` in `{source}` is `{value}`, which is not a registry",
            hint="write `host`, `host:port` or `host/path`, without `https://` and in small letters",
        )


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


def is_variable(source: str) -> bool:
    """Whether a setting comes from a variable of the environment."""
    return source.startswith(PREFIX)
