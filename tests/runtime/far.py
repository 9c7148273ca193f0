"""An engine on a host of its own that is reached by `ssh` alone: Debian's OpenSSH there, the system's client here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.machine import link
from scripts.machine.debian import fetch
from scripts.machine.processes import Children, wait_until
from scripts.machine.state import Record
from tests.buildkit.doors import put_program
from tests.conftest import TOP, Machine
from tests.engine.hosts import Host, host_in

_PORT = 2222
"""Of a network that nobody else is in."""

_SERVER = """\
ListenAddress {address}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
PidFile none
MaxStartups 100
MaxSessions 100
SetEnv DOCKER_HOST={engine} PATH={folder}/far:/usr/bin:/bin
"""
_CLIENT = """\
#!/bin/sh
exec {ssh} -F {folder}/client "$@"
"""
_SETTINGS = """\
IdentityFile {folder}/key
UserKnownHostsFile {folder}/known
StrictHostKeyChecking accept-new
ControlMaster auto
ControlPath {folder}/%C
ControlPersist 5
"""
"""As the documentation says: a handshake for every connection takes its time."""

_SERVE = """\
mount --bind "$1/passwd" /etc/passwd
exec "$1/debian/usr/sbin/sshd" -D -e -f "$1/config"
"""


@dataclass(frozen=True)
class Far:
    """The host, the address of its engine, and the folder whose `ssh` gets there."""

    host: Host
    url: str
    tools: Path


@contextmanager
def far_away(folder: Path, machine: Machine) -> Iterator[Far]:
    """A host with OpenSSH on it; `folder` is a new one, for keys and programs."""
    with host_in(TOP / "build/far-machine", machine) as host:
        subnet = Record.load(host.state).subnet
        assert subnet
        address = link.addresses(subnet)[1]
        _prepare(folder, address, host.docker_host)
        with _serving(folder, host, address):
            yield Far(host, f"ssh://root@{address}:{_PORT}", folder / "near")


def _prepare(folder: Path, address: str, engine: str) -> None:
    """Keys, OpenSSH's server, and the programs of either side."""
    if not (ssh := shutil.which("ssh")):
        pytest.fail("this takes `ssh`: Debian's package openssh-client", pytrace=False)
    for name in ("debs", "near", "far"):
        (folder / name).mkdir(parents=True)
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    for package in fetch(("openssh-server", "libwrap0"), folder / "debs", folder / "debian.log", Children()):
        subprocess.run(["dpkg-deb", "-x", package, folder / "debian"], check=True)
    # The user as whom OpenSSH does what needs no rights.
    passwd = Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(passwd + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
    (folder / "config").write_text(_SERVER.format(address=address, port=_PORT, folder=folder, engine=engine))
    if docker := shutil.which("docker"):
        (folder / "far/docker").symlink_to(docker)
    else:
        put_program(folder / "far", "docker", ("system", "dial-stdio"), Path(engine.removeprefix("unix://")))
    (folder / "client").write_text(_SETTINGS.format(folder=folder))
    client = folder / "near/ssh"
    client.write_text(_CLIENT.format(ssh=ssh, folder=folder))
    client.chmod(0o755)


@contextmanager
def _serving(folder: Path, host: Host, address: str) -> Iterator[None]:
    """OpenSSH's server on the host's network; it sees this machine's files."""
    Path("/run/sshd").mkdir(exist_ok=True)
    (libraries,) = {path.parent for path in (folder / "debian").rglob("libwrap.so.0")}
    apart = ("nsenter", f"--net={host.state.namespace}", "unshare", "--mount", "sh", "-ec", _SERVE, "sh", str(folder))
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(
            apart, stdin=subprocess.DEVNULL, stderr=log, env={**os.environ, "LD_LIBRARY_PATH": str(libraries)}
        )
    try:
        assert wait_until(lambda: _answers(address) or server.poll() is not None, 30)
        yield
        assert server.poll() is None, (folder / "sshd.log").read_text()
    finally:
        server.terminate()
        server.wait()
        if said := (folder / "sshd.log").read_text():
            print(said, file=sys.stderr)
        with suppress(OSError):
            Path("/run/sshd").rmdir()


def _answers(address: str) -> bool:
    with suppress(OSError), socket.create_connection((address, _PORT), 1) as connection:
        return connection.recv(4) == b"SSH-"
    return False
