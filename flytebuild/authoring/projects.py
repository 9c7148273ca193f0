"""uv, Poetry and pixi projects: the files that decide what they install."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import tomli

from flytebuild.authoring import credentials
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.site import Site
from flytebuild.spec.layers import LocalPackage, Mode
from flytebuild.spec.normalise import is_archive
from flytebuild.spec.requirement import normal_name, parse
from flytebuild.spec.tree import Tree

Table = Mapping[str, Any]

_PIXI_DEPENDENCIES = (
    "pypi-dependencies",
    "dependencies",
    "host-dependencies",
    "build-dependencies",
    "run-dependencies",
)


def toml(path: Path, files: HostFiles, site: Site) -> Table:
    """A TOML file. Raises UnsupportedImageError where it is missing or malformed, or a URL holds credentials."""
    text = files.text(path, site)
    credentials.refuse(text, path, site)
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise site.error(f"`{path}` is not TOML ({error})", hint="mend it at that place") from error


def lock_of(manifest: Path, lock: Path, command: str, files: HostFiles, site: Site) -> Table:
    """A project's lock, which `command` makes; errors as of `toml`."""
    if not lock.exists():
        raise site.error(f"file `{lock}` does not exist", hint=f"run `{command}` in `{manifest.parent}`")
    return toml(lock, files, site)


def tree_of(manifest: Path, lock: Path | None, lock_name: str, mode: Mode, files: HostFiles, site: Site) -> Tree:
    """A project's tree: its manifest and its lock, or its whole folder in mode `install_project`."""
    if mode not in get_args(Mode):
        known = " or ".join(f"`{item}`" for item in get_args(Mode))
        raise site.error(f"`{mode}` is no `project_install_mode`", hint=f"use {known}")
    single = {manifest.name: manifest} | ({lock_name: lock} if lock else {})
    if mode == "dependencies_only":
        return files.files(single, site)
    return files.overlaid(files.project(manifest.parent, site), single, site)


def check_uv_lock(project: Table, lock: Table, lock_path: Path, manifest: Path, site: Site) -> None:
    """A lock that was made for another project would install something else than the project asks for."""
    locked = {_name(package): package for package in _tables(lock.get("package"))}
    name = _name(_table(project, "project"))
    if name and name not in locked:
        raise _foreign(lock_path, manifest, f"it has no package `{name}`", "uv lock", site)
    _check_dependencies(_list(project, "project", "dependencies"), locked, lock_path, manifest, "uv lock", site)
    place = next(_places_of(locked.get(name, {})), ".")
    if os.path.normpath(place) != ".":
        raise site.error(
            f"`{manifest}` is a member of the workspace that `{lock_path}` belongs to, as `{place}`",
            hint=f'name the workspace\'s own `pyproject.toml`, with `extra_args="--package {name}"`',
        )


def check_poetry_lock(project: Table, lock: Table, lock_path: Path, manifest: Path, site: Site) -> None:
    """The same for Poetry, whose tables name the dependencies."""
    locked = {_name(package): package for package in _tables(lock.get("package"))}
    poetry = _table(project, "tool", "poetry")
    groups = [poetry, *(group for group in _tables(_table(poetry, "group").values()) if not _is_optional(group))]
    wanted = [
        *_list(project, "project", "dependencies"),
        *(
            name
            for group in groups
            for name, value in _table(group, "dependencies").items()
            if name.lower() != "python" and not _is_optional(value)
        ),
    ]
    _check_dependencies(wanted, locked, lock_path, manifest, "poetry lock", site)


def uv_packages(
    manifest: Path, project: Table, lock: Table | None, files: HostFiles, site: Site
) -> tuple[LocalPackage, ...]:
    """The packages that a uv project takes from folders of this machine, workspace members among them."""
    root = manifest.parent
    if lock is not None:
        paths = {path for package in _tables(lock.get("package")) for path in _places_of(package)}
        indexes = {path for package in _tables(lock.get("package")) for path in _folder_indexes(package)}
    else:
        paths = set(_source_paths(root, "", project, files, site)) | set(_members(project, manifest, site))
        indexes = set()
    indexes |= {path for path in _index_paths(_table(project, "tool", "uv")) if not _is_remote(path)}
    return _local_packages(root, paths, indexes, files, site)


def poetry_packages(manifest: Path, lock: Table, files: HostFiles, site: Site) -> tuple[LocalPackage, ...]:
    """The packages that a Poetry project takes from folders, by its lock."""
    sources = (_table(package, "source") for package in _tables(lock.get("package")))
    paths = {
        str(source["url"]) for source in sources if source.get("type") in ("directory", "file") and "url" in source
    }
    return _local_packages(manifest.parent, paths, (), files, site)


def dependencies(project: Table) -> list[str]:
    """The requirements of a project's manifest, without those of its extras and groups."""
    return [str(item) for item in _list(project, "project", "dependencies")]


def is_poetry_package(project: Table) -> bool:
    """Whether Poetry installs the project itself: not where it manages dependencies only."""
    return bool(_table(project, "tool", "poetry").get("package-mode", True))


def pixi_packages(manifest: Path, project: Table, files: HostFiles, site: Site) -> tuple[LocalPackage, ...]:
    """The packages that a pixi manifest takes from folders."""
    table = _table(project, "tool", "pixi") if manifest.name == "pyproject.toml" else project
    features = [table, _table(table, "package"), *_tables(_table(table, "feature").values())]
    owners = [*features, *(target for feature in features for target in _tables(_table(feature, "target").values()))]
    paths = {
        str(value["path"])
        for owner in owners
        for kind in _PIXI_DEPENDENCIES
        for value in _tables(_table(owner, kind).values())
        if "path" in value
    }
    options = (_table(owner, "pypi-options") for owner in (table, _table(table, "workspace"), *features))
    links = {str(link["path"]) for option in options for link in _tables(option.get("find-links")) if "path" in link}
    return _local_packages(manifest.parent, paths, links, files, site)


def _local_packages(
    root: Path, paths: Iterable[str], indexes: Iterable[str], files: HostFiles, site: Site
) -> tuple[LocalPackage, ...]:
    """Trees of what lies on this machine, by folders relative to the project; the project itself is left out.

    `paths` are packages, folders or archives; `indexes` are folders of archives.
    """
    found: dict[str, LocalPackage] = {}
    archives: dict[str, dict[str, Path]] = {}
    for text in sorted(paths):
        path, place = _place(root, text, site)
        if place.is_file():
            archives.setdefault(os.path.dirname(path) or ".", {})[place.name] = place
        elif path != ".":
            if set(path.split("/")) == {".."}:
                raise site.error(
                    f"the project depends on `{path}`, a folder that it lies in itself",
                    hint="make the outer project's `pyproject.toml` the one that is installed",
                )
            found[path] = LocalPackage(path, files.project(place, site))
    for text in sorted(indexes):
        path, place = _place(root, text, site)
        if not place.is_dir():
            raise site.error(f"`{place}` is not a folder of packages", hint="a path here is relative to the project")
        inside = {item.name: item for item in sorted(place.iterdir()) if item.is_file() and is_archive(item.name)}
        archives.setdefault(path, {}).update(inside)
    for path, single in archives.items():
        # One folder is mounted once; what else is in it is not asked for, unless it is a package itself.
        if path not in found:
            found[path] = LocalPackage(path, files.files(single, site))
    return tuple(found[path] for path in sorted(found))


def _place(root: Path, text: str, site: Site) -> tuple[str, Path]:
    """A path in its normal form, and where that is."""
    path = os.path.normpath(text)
    if os.path.isabs(path) or text.startswith("~"):
        raise site.error(
            f"the project depends on `{text}`, an absolute path that is another one on every machine",
            hint="write it relative to the project",
        )
    place = root / path
    if not place.exists():
        raise site.error(
            f"the project depends on `{path}`, and `{place}` does not exist",
            hint="a path here is relative to the project",
        )
    return path, place


def _places_of(package: Table) -> Iterator[str]:
    """Where a package of a uv lock lies on this machine."""
    for kind in ("editable", "directory", "virtual", "path"):
        if isinstance(path := _table(package, "source").get(kind), str):
            yield path


def _folder_indexes(package: Table) -> Iterator[str]:
    registry = _table(package, "source").get("registry")
    if isinstance(registry, str) and not _is_remote(registry):
        yield registry


def _index_paths(settings: Table) -> Iterator[str]:
    """Everything that `[tool.uv]` names as a place to find packages in."""
    for link in _list(settings, "find-links"):
        yield str(link)
    for index in _tables(settings.get("index")):
        yield str(index.get("url", ""))


def _is_remote(url: str) -> bool:
    return not url or "://" in url


def _source_paths(root: Path, folder: str, project: Table, files: HostFiles, site: Site) -> Iterator[str]:
    """The paths that a project names as sources, and those that the projects there name, relative to the first."""
    pending, seen = [(folder, project)], set[str]()
    while pending:
        folder, project = pending.pop()
        for value in _table(project, "tool", "uv", "sources").values():
            for source in _tables(value if isinstance(value, list) else [value]):
                if "path" not in source:
                    continue
                path = os.path.join(folder, str(source["path"]))
                yield path
                manifest = root / path / "pyproject.toml"
                if os.path.normpath(path) not in seen and manifest.is_file():
                    seen.add(os.path.normpath(path))
                    pending.append((path, toml(manifest, files, site)))


def _members(project: Table, manifest: Path, site: Site) -> Iterator[str]:
    workspace = _table(project, "tool", "uv", "workspace")
    excluded = {path for pattern in _list(workspace, "exclude") for path in _matches(manifest, pattern, site)}
    for pattern in _list(workspace, "members"):
        for path in _matches(manifest, pattern, site):
            if path not in excluded and (path / "pyproject.toml").is_file():
                yield path.relative_to(manifest.parent).as_posix()


def _matches(manifest: Path, pattern: object, site: Site) -> list[Path]:
    try:
        return sorted(manifest.parent.glob(str(pattern)))
    except (ValueError, NotImplementedError) as error:
        raise site.error(
            f"`{pattern}` in the workspace of `{manifest}` is not a pattern of relative paths",
            hint="write it like `packages/*`",
        ) from error


def _check_dependencies(
    texts: Iterable[object], locked: Container[str], lock_path: Path, manifest: Path, command: str, site: Site
) -> None:
    for text in texts:
        wanted = parse(str(text))
        # What a marker leaves out everywhere need not be in the lock.
        if wanted and not wanted.marker and wanted.name not in locked:
            raise _foreign(lock_path, manifest, f"it has no package `{wanted.written}`", command, site)


def _foreign(lock: Path, manifest: Path, why: str, command: str, site: Site) -> Exception:
    return site.error(
        f"`{lock}` does not belong to `{manifest}`: {why}",
        hint=f"run `{command}` in `{manifest.parent}`, or name the right lock",
    )


def _is_optional(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value.get("optional"))


def _name(package: Table) -> str:
    name = package.get("name")
    return normal_name(name) if isinstance(name, str) else ""


def _table(owner: Table, *keys: str) -> Table:
    """A table within tables; an empty one where it is missing, or something else."""
    for key in keys:
        inner = owner.get(key)
        owner = inner if isinstance(inner, Mapping) else {}
    return owner


def _tables(values: object) -> list[Table]:
    """The tables among some values."""
    return [item for item in values if isinstance(item, Mapping)] if isinstance(values, Iterable) else []


def _list(owner: Table, *keys: str) -> list[Any]:
    """A list within tables; an empty one where it is missing, or something else."""
    found = _table(owner, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, list) else []
