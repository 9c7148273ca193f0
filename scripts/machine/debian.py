"""Debian's archive as a source of programs and root file systems, without installing anything."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from platform import machine

from scripts.machine.processes import Children, Command, run_quietly
from scripts.machine.report import MachineError, say
from scripts.machine.state import State, remove_tree

PACKAGES = ("mmdebstrap", "docker-registry")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FASTER = (
    "--dpkgopt=force-unsafe-io",  # a root that is interrupted is thrown away, so nothing needs to be flushed
    '--aptopt=Acquire::Languages "none"',
)
_FETCHING = threading.Lock()
GNU_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's names of architectures, and those that wheels and emulators have in theirs."""

MIRROR = "http://deb.debian.org"
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def has_archive() -> bool:
    """Whether packages can be fetched and unpacked here."""
    return sys.platform == "linux" and all(map(shutil.which, ("apt-get", "dpkg-deb")))


def why_no_roots() -> str | None:
    """Why root file systems cannot be made on this machine; None when they can."""
    if not has_archive() or not KEYRING.is_file():
        return "this is not a Debian system"
    if os.geteuid() != 0:
        return "this needs root"
    if run_quietly(["unshare", "--mount", "--pid", "--fork", "true"]).returncode:
        return "root may not make namespaces here"
    return None


@cache
def architecture() -> str:
    """Debian's name of this machine's architecture; for those that we meet, the registries' name as well."""
    known = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return known.get(machine()) or run_quietly(["dpkg", "--print-architecture"]).stdout.strip()


def other_architecture() -> str:
    """The one that this machine is not of."""
    return "amd64" if architecture() == "arm64" else "arm64"


def ca_bundle() -> Path | None:
    """The certificates that this machine trusts: a company's network may sign with its own."""
    named = [os.environ[name] for name in BUNDLE_VARIABLES if os.environ.get(name)]
    paths = [Path(name) for name in (*named, "/etc/ssl/certs/ca-certificates.crt")]
    return next((path for path in paths if path.is_file()), None)


def name_servers() -> Path:
    """A `resolv.conf` that holds inside a container too: not that of a resolver on our loopback."""
    behind_the_stub = Path("/run/systemd/resolve/resolv.conf")
    return behind_the_stub if behind_the_stub.is_file() else Path("/etc/resolv.conf")


def fetch_tools(state: State, children: Children) -> None:
    """Unpack the programs that we run on the host into `state.tools`, where they are not yet."""
    with _FETCHING:
        if not state.tools.is_dir():
            _fetch_tools(state, children)


def _fetch_tools(state: State, children: Children) -> None:
    say("tools", f"fetching {' and '.join(PACKAGES)} from Debian's archive ...")
    scratch = new_folder(state.scratch / "tools")
    for package in fetch(PACKAGES, scratch, state.logs / "tools.log", children):
        children.run(["dpkg-deb", "-x", package, scratch / "unpacked"], log=state.logs / "tools.log")
    (scratch / "unpacked").rename(state.tools)


def mmdebstrap(state: State, *arguments: str | Path) -> Command:
    """The command that makes a root file system, in namespaces that take all of its mounts along when it ends."""
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    program = state.tools / "usr/bin/mmdebstrap"
    return [*namespaces, program, "--mode=root", "--variant=minbase", *FASTER, *arguments]


def mmdebstrap_environment(scratch: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "TMPDIR": str(scratch), **(more or {})}


def new_folder(path: Path) -> Path:
    """An empty folder; what an interrupted command left there is removed."""
    remove_tree(path)
    path.mkdir(parents=True)
    return path


def fetch(packages: Sequence[str], folder: Path, log: Path, children: Children) -> Sequence[Path]:
    """Fetch packages with the system's package lists; where those are missing or stale, with lists of our own."""
    # Apart from the state folder's owner, apt's own user may have no way into it.
    as_root = ["-o", "APT::Sandbox::User=root"]
    download: Command = ["env", "-C", folder, "apt-get", "download", *packages, *as_root]
    try:
        children.run(download, log=log)
    except MachineError:
        children.check()
        (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
        own_lists = ["-o", f"Dir::State::Lists={folder}/lists"]
        children.run(["apt-get", "update", *as_root, *own_lists], log=log)
        children.run([*download, *own_lists], log=log)
    return sorted(folder.glob("*.deb"))


def fetch_of(
    suite: str, architecture: str, packages: Sequence[str], folder: Path, log: Path, children: Children
) -> Sequence[Path]:
    """Fetch packages of a release and an architecture that need not be this machine's."""
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(
        f"deb [signed-by={KEYRING}] {MIRROR}/debian {suite} main\n"
        f"deb [signed-by={KEYRING}] {MIRROR}/debian {suite}-updates main\n"
        f"deb [signed-by={KEYRING}] {MIRROR}/debian-security {suite}-security main\n"
    )
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
    }
    options = [text for name, value in settings.items() for text in ("-o", f"{name}={value}")]
    children.run(["apt-get", "update", *options], log=log)
    children.run(["env", "-C", folder / "debs", "apt-get", "download", *packages, *options], log=log)
    return sorted((folder / "debs").glob("*.deb"))
