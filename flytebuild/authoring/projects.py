"""uv, Poetry and pixi projects: the files that decide what they install."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.requirements import CREDENTIALS, CREDENTIALS_HINT
from flytebuild.authoring.site import Site
from flytebuild.spec.layers import LocalPackage, Mode
from flytebuild.spec.tree import Tree

Table = Mapping[str, Any]


def toml(path: Path, files: HostFiles, site: Site) -> Table:
    """A TOML file. Raises UnsupportedImageError where it is missing or malformed, or a URL holds credentials."""
    text = files.text(path, site)
    if CREDENTIALS.search(text):
        raise site.error(f"`{path}` has a URL with credentials", hint=CREDENTIALS_HINT)
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise site.error(f"`{path}` is not TOML ({error})") from error


def tree_of(manifest: Path, lock: Path | None, lock_name: str, mode: Mode, files: HostFiles, site: Site) -> Tree:
    """A project's tree: its manifest and its lock, or its whole folder in mode `install_project`."""
    single = {manifest.name: manifest} | ({lock_name: lock} if lock else {})
    if mode == "dependencies_only":
        return files.files(single, site)
    return files.overlaid(files.folder(manifest.parent, site), single, site)


def check_uv_lock(project: Table, lock: Table, lock_path: Path, manifest: Path, site: Site) -> None:
    """A lock that was made for another project would install something else than the project asks for."""
    known = {canonicalize_name(package.get("name", "")) for package in lock.get("package", ())}
    name = project.get("project", {}).get("name", "")
    if name and canonicalize_name(name) not in known:
        raise _foreign(lock_path, manifest, f"it has no package `{name}`", "uv lock", site)
    _check_dependencies(project.get("project", {}).get("dependencies", ()), known, lock_path, manifest, "uv lock", site)


def check_poetry_lock(project: Table, lock: Table, lock_path: Path, manifest: Path, site: Site) -> None:
    """The same for Poetry, whose tables name the dependencies."""
    known = {canonicalize_name(package.get("name", "")) for package in lock.get("package", ())}
    table = project.get("tool", {}).get("poetry", {}).get("dependencies", {})
    wanted = [
        *project.get("project", {}).get("dependencies", ()),
        *(name for name, value in table.items() if name != "python" and not _is_optional(value)),
    ]
    _check_dependencies(wanted, known, lock_path, manifest, "poetry lock", site)


def uv_packages(
    manifest: Path, project: Table, lock: Table | None, files: HostFiles, site: Site
) -> tuple[LocalPackage, ...]:
    """The packages that a uv project takes from folders of this machine, workspace members among them."""
    root = manifest.parent
    paths = _locked_paths(lock) if lock is not None else chain(_source_paths(project), _members(project, root))
    return _local_packages(root, set(paths), files, site)


def poetry_packages(manifest: Path, lock: Table, files: HostFiles, site: Site) -> tuple[LocalPackage, ...]:
    """The packages that a Poetry project takes from folders, by its lock."""
    sources = (package.get("source", {}) for package in lock.get("package", ()))
    paths = {source["url"] for source in sources if source.get("type") in ("directory", "file") and "url" in source}
    return _local_packages(manifest.parent, paths, files, site)


def is_poetry_package(project: Table) -> bool:
    """Whether Poetry installs the project itself: not where it manages dependencies only."""
    return bool(project.get("tool", {}).get("poetry", {}).get("package-mode", True))


def refuse_poetry_develop(lock: Table, lock_path: Path, site: Site) -> None:
    """Refuse packages that would be links to folders which are there only while the project is installed."""
    for package in lock.get("package", ()):
        if package.get("develop"):
            raise site.error(
                f"`{lock_path}` has `{package.get('name')}` with `develop`, which would point to a folder that the "
                "image does not have",
                hint="leave out `develop = true`, or install dependencies only and copy the project",
            )


def pixi_packages(manifest: Path, project: Table, files: HostFiles, site: Site) -> tuple[LocalPackage, ...]:
    """The packages that a pixi manifest takes from folders."""
    table = project.get("tool", {}).get("pixi", {}) if manifest.name == "pyproject.toml" else project
    features = [table, *table.get("feature", {}).values()]
    targets = [target for feature in features for target in feature.get("target", {}).values()]
    paths = {
        str(value["path"])
        for owner in (*features, *targets)
        for kind in ("pypi-dependencies", "dependencies", "host-dependencies", "build-dependencies")
        for value in owner.get(kind, {}).values()
        if isinstance(value, Mapping) and "path" in value
    }
    return _local_packages(manifest.parent, paths, files, site)


def _local_packages(root: Path, paths: Iterable[str], files: HostFiles, site: Site) -> tuple[LocalPackage, ...]:
    """Trees of folders (or single archives) by their path relative to the project; the project itself is left out."""
    found = []
    for text in sorted(paths):
        path = os.path.normpath(text)
        if path == ".":
            continue
        if os.path.isabs(path):
            raise site.error(
                f"the project depends on `{path}`, an absolute path that is another one on every machine",
                hint="write it relative to the project",
            )
        place = root / path
        if not place.exists():
            raise site.error(f"the project depends on `{path}`, and `{place}` does not exist")
        if place.is_dir():
            found.append(LocalPackage(path, files.folder(place, site)))
        else:
            folder = os.path.dirname(path) or "."
            found.append(LocalPackage(folder, files.file(place, site)))
    return tuple(found)


def _locked_paths(lock: Table) -> Iterator[str]:
    for package in lock.get("package", ()):
        source = package.get("source", {})
        for kind in ("editable", "directory", "virtual", "path"):
            if kind in source:
                yield source[kind]


def _source_paths(project: Table) -> Iterator[str]:
    for value in project.get("tool", {}).get("uv", {}).get("sources", {}).values():
        for source in value if isinstance(value, list) else [value]:
            if "path" in source:
                yield source["path"]


def _members(project: Table, root: Path) -> Iterator[str]:
    workspace = project.get("tool", {}).get("uv", {}).get("workspace", {})
    excluded = {path for pattern in workspace.get("exclude", ()) for path in root.glob(pattern)}
    for pattern in workspace.get("members", ()):
        for path in root.glob(pattern):
            if path not in excluded and (path / "pyproject.toml").is_file():
                yield str(path.relative_to(root))


def _check_dependencies(
    texts: Iterable[str], known: set[Any], lock_path: Path, manifest: Path, command: str, site: Site
) -> None:
    for text in texts:
        try:
            name = Requirement(text).name
        except InvalidRequirement:
            continue
        if canonicalize_name(name) not in known:
            raise _foreign(lock_path, manifest, f"it has no package `{name}`", command, site)


def _foreign(lock: Path, manifest: Path, why: str, command: str, site: Site) -> Exception:
    return site.error(
        f"`{lock}` does not belong to `{manifest}`: {why}",
        hint=f"run `{command}` in `{manifest.parent}`, or name the right lock",
    )


def _is_optional(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value.get("optional"))
