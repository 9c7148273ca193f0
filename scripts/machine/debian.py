"""Debian's archive as a source of programs and root file systems, without installing anything."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def architecture() -> str:
    """Debian's name of this machine's architecture; for those that we meet, the registries' name as well."""
    return run_quietly(["dpkg", "--print-architecture"]).stdout.strip()


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
    packages = _download(state, scratch, children)
    for package in packages:
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


def _download(state: State, folder: Path, children: Children) -> Sequence[Path]:
    """Fetch the packages with the system's package lists; where those are missing or stale, with lists of our own."""
    log = state.logs / "tools.log"
    # Apart from the state folder's owner, apt's own user may have no way into it.
    as_root = ["-o", "APT::Sandbox::User=root"]
    download: Command = ["env", "-C", folder, "apt-get", "download", *PACKAGES, *as_root]
    try:
        children.run(download, log=log)
    except MachineError:
        children.check()
        (folder / "lists/partial").mkdir(parents=True)
        own_lists = ["-o", f"Dir::State::Lists={folder}/lists"]
        children.run(["apt-get", "update", *as_root, *own_lists], log=log)
        children.run([*download, *own_lists], log=log)
    return sorted(folder.glob("*.deb"))
