"""The same root for another architecture, without running any of its programs.

Debian's own way runs the maintainer scripts of a hundred packages under emulation, which takes minutes. But what those
scripts set up is text that is the same everywhere. So the native root, set up natively, gets the other architecture's
packages in place of its own: their files, and their entries in dpkg's database.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Container, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from scripts.machine.debian import GNU_NAMES, fetch_of, new_folder
from scripts.machine.processes import Children, Command, run_quietly
from scripts.machine.roots import FLYTE_PATHS, date_bytecode, index_settings

DATABASE = "var/lib/dpkg"
NEWEST_GLIBC = "manylinux_2_36"
"""What the wheels of a Debian 12 may ask for."""


def copy(native: Path, folder: Path, log: Path, children: Children) -> Path:
    """Copy a root into `folder`, to become the other architecture's."""
    root = new_folder(folder) / "root"
    children.run(["cp", "--archive", "--one-file-system", native, root], log=log)
    return root


def exchange_packages(root: Path, suite: str, target: str, log: Path, children: Children) -> None:
    """Make a native root one of the architecture `target`."""
    packages = _native_packages(root)
    names = sorted(set(packages.values()))
    debs = fetch_of(suite, target, names, new_folder(root.parent / "apt"), log, children)
    _remove_files(root, packages)
    for deb in debs:
        _unpack(deb, root, log, children)
    _rewrite_status(root, target, debs)
    # Dynamic loaders find Debian's libraries without it; the first package that is installed writes it anew.
    (root / "etc/ld.so.cache").unlink(missing_ok=True)
    date_bytecode(root / "usr/lib")


def add_flyte(
    native: Path,
    root: Path,
    target: str,
    python: str,
    programs: tuple[Path, Path],
    log: Path,
    children: Children,
) -> None:
    """Add to `root` what was added to `native`; `programs` are uv for this machine and for `target`."""
    for path in FLYTE_PATHS:
        if (native / path).exists():
            children.run(["rm", "-rf", root / path], log=log)
            children.run(["cp", "--archive", native / path, root / path], log=log)
    shutil.copy(programs[1], root / "usr/bin/uv")
    packages = root / f"opt/venv/lib/python{python}/site-packages"
    bound = [f"{item.name}=={item.version}" for item in distributions(path=[str(packages)]) if not _is_pure(item)]
    command: Command = [
        *(programs[0], "pip", "install", "--quiet", "--target", packages, "--python", sys.executable),
        *(f"--python-version={python}", f"--python-platform={GNU_NAMES[target]}-{NEWEST_GLIBC}"),
        *("--no-deps", "--reinstall", "--only-binary=:all:", "--no-cache", "--link-mode=copy", *bound),
    ]
    children.run(command, log=log, environment={**os.environ, **index_settings()})
    # The programs of the environment are there already, and for the place where it will be.
    shutil.rmtree(packages / "bin", ignore_errors=True)
    (packages / ".lock").unlink(missing_ok=True)
    date_bytecode(root / "opt/venv")


def _native_packages(root: Path) -> dict[str, str]:
    """The packages that are bound to an architecture: the name in dpkg's database, and the plain one."""
    form = "${binary:Package} ${Package} ${Architecture}\n"
    listing = run_quietly(["dpkg-query", f"--admindir={root / DATABASE}", "--show", f"--showformat={form}"]).stdout
    lines = [line.split() for line in listing.splitlines()]
    return {stored: plain for stored, plain, architecture in lines if architecture != "all"}


def _remove_files(root: Path, packages: Container[str]) -> None:
    """Remove what the packages brought, and what the database has of them."""
    for entry in list((root / DATABASE / "info").iterdir()):
        package, _, kind = entry.name.rpartition(".")
        if package not in packages:
            continue
        for line in entry.read_text().splitlines() if kind == "list" else ():
            path = root / line.lstrip("/")
            # At the top there are folders only, and the links of a merged /usr, which all need.
            if len(Path(line).parts) > 2 and (path.is_symlink() or path.is_file()):
                path.unlink()
        entry.unlink()


def _unpack(deb: Path, root: Path, log: Path, children: Children) -> None:
    """Unpack a package and enter it in the database, all but its status."""
    control = deb.with_suffix(".control")
    children.run(["dpkg-deb", "--control", deb, control], log=log)
    fields = _fields((control / "control").read_text())
    stored = fields["Package"]
    if fields.get("Multi-Arch") == "same":
        stored += f":{fields['Architecture']}"
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x -v -p --numeric-owner --keep-directory-symlink -C "$2"'
    with children.start(["sh", "-c", unpack, "sh", deb, root], log=log) as child:
        assert child.stdout
        names = child.stdout.read().decode().splitlines()
    listing = "".join(f"/{name.removeprefix('./').rstrip('/') or '.'}\n" for name in names)
    (root / DATABASE / "info" / f"{stored}.list").write_text(listing)
    for path in control.iterdir():
        if path.name != "control":
            shutil.copy(path, root / DATABASE / "info" / f"{stored}.{path.name}")


def _rewrite_status(root: Path, target: str, debs: Sequence[Path]) -> None:
    """Let dpkg know the packages as those of `target`."""
    fetched = {}
    for deb in debs:
        fields = _fields((deb.with_suffix(".control") / "control").read_text())
        fetched[fields["Package"]] = fields
    status = root / DATABASE / "status"
    paragraphs = []
    for paragraph in status.read_text().split("\n\n"):
        old = _fields(paragraph)
        if old and old["Architecture"] != "all":
            new = fetched[old["Package"]]
            for key in ("Architecture", "Version"):
                paragraph = paragraph.replace(f"\n{key}: {old[key]}\n", f"\n{key}: {new[key]}\n", 1)
        paragraphs.append(paragraph)
    status.write_text("\n\n".join(paragraphs))
    (root / DATABASE / "status-old").unlink(missing_ok=True)
    (root / DATABASE / "arch").write_text(f"{target}\n")


def _fields(paragraph: str) -> dict[str, str]:
    lines = (line.split(":", 1) for line in paragraph.splitlines() if line and not line[0].isspace())
    return {key: value.strip() for key, value in lines}


def _is_pure(distribution: Distribution) -> bool:
    tags = [line for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")]
    return all(tag.endswith("-any") for tag in tags)
