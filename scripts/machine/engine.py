"""An engine of our own: Docker of Debian 13 in a root, a mount namespace and a process namespace of its own.

`pivot_root` and not `chroot`: with the latter, `docker exec` lands in the host's root. With a process namespace, all
that the engine started ends together with it, and nothing that anybody else started can be hit.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from scripts.machine import emulation, network
from scripts.machine.debian import ca_bundle, mmdebstrap, mmdebstrap_environment, name_servers, new_folder
from scripts.machine.docker_api import Address
from scripts.machine.namespace import NetworkNamespace
from scripts.machine.processes import Children, Command, Process, last_line, serve, wait_until
from scripts.machine.report import MachineError, say
from scripts.machine.state import Record, State

SUITE = "trixie"
PACKAGES = ("docker.io", "containerd", "runc", "tini", "iptables", "iproute2", "ca-certificates")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

ENTER_ROOT = """
set -e
mount --bind "$1" "$1"
cd "$1"
mkdir -p .host
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
pivot_root . .host
umount -l /.host
shift
exec env -i "$@"
"""


def is_running(state: State, record: Record) -> bool:
    return bool(record.engine and record.engine.is_running() and Address(state.engine_host).is_answering())


def make_root(state: State, children: Children) -> None:
    """Make the engine's root file system, where there is none yet."""
    if state.root.is_dir():
        return
    say("engine", "unpacking Debian 13 with Docker ...")
    began = time.monotonic()
    scratch = new_folder(state.scratch / "engine")
    command = mmdebstrap(state, f"--include={','.join(PACKAGES)}", "--format=directory", SUITE, scratch / "root")
    children.run(command, log=state.logs / "engine-root.log", environment=mmdebstrap_environment(scratch))
    (scratch / "root").rename(state.root)
    say("engine", f"unpacked in {time.monotonic() - began:.0f} s")


def copy_root(source: State, state: State, children: Children) -> None:
    """Make the engine's root like another's, without what that engine keeps; where there is none yet."""
    if state.root.is_dir():
        return
    scratch = new_folder(state.scratch / "engine")
    own = [f"--exclude=./{name}" for name in ("run/*", "tmp/*", "var/lib/containerd", "var/lib/docker")]
    pack = shlex.join(["tar", "-C", str(source.root), "--one-file-system", *own, "-cf", "-", "."])
    unpack = shlex.join(["tar", "-C", str(scratch), "-xf", "-"])
    children.run(["sh", "-c", f"{pack} | {unpack}"], log=state.logs / "engine-root.log")
    scratch.rename(state.root)


def start(state: State, record: Record, children: Children) -> None:
    """Start the engine on what is on disk, and wait until it answers."""
    if record.engine:
        record.engine.stop(patience=5)
    say("engine", "starting ...")
    network.prepare(state, record)
    _configure(state, record)
    began = time.monotonic()
    process = _serve(state, network.of_engine(state, record))
    try:
        wait_until(lambda: _has_settled(state, process, children), 60)
        children.check()
        if not Address(state.engine_host).is_answering():
            log = state.logs / "engine.log"
            raise MachineError(f"The engine did not start: {last_line(log)}", hint=f"its log is `{log}`")
    except BaseException:
        process.stop(patience=0)
        raise
    record.engine = process
    record.save(state)
    say("engine", f"answers after {time.monotonic() - began:.1f} s")


def stop(state: State, record: Record) -> None:
    """Stop the engine with all that runs on it, and take its network away."""
    if record.engine and record.engine.is_running():
        say("engine", "stopping ...")
        with suppress(OSError, HTTPException):
            _remove_containers_and_networks(Address(state.engine_host))
        _terminate(record.engine)
    network.remove(state, record)
    emulation.remove(state)
    _remove_cgroups(state.name)
    state.short_link.unlink(missing_ok=True)
    record.engine = None


def _configure(state: State, record: Record) -> None:
    """Write what the engine reads, anew at every start: the host's side of it may have changed."""
    assert record.subnet
    for leftover in (state.root / "run").glob("docker*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    shutil.rmtree(state.root / "run/containerd", ignore_errors=True)
    if state.needs_short_link:
        state.short_link.unlink(missing_ok=True)
        state.short_link.symlink_to(state.root / "run")
    # By default a question that gets lost on its way to a name server holds a build step up for five seconds.
    resolving = name_servers().read_text().rstrip("\n") + "\noptions timeout:2 attempts:4\n"
    (state.root / "etc/resolv.conf").write_text(resolving)
    if bundle := ca_bundle():
        shutil.copyfile(bundle, state.root / "etc/ssl/certs/ca-certificates.crt")
    configuration = {
        "features": {"containerd-snapshotter": True},
        "insecure-registries": ["127.0.0.0/8"],
        "bridge": state.name,
        "mtu": network.largest_packet(state),
        "default-address-pools": [network.address_pool(record.subnet)],
        "iptables": False,
        "cgroup-parent": f"/{state.name}",
    }
    (state.root / "etc/docker").mkdir(exist_ok=True)
    (state.root / "etc/docker/daemon.json").write_text(json.dumps(configuration, indent=2) + "\n")


def _serve(state: State, place: NetworkNamespace) -> Process:
    proxies = [f"{name}={os.environ[name]}" for name in PROXY_VARIABLES if name in os.environ]
    namespaces = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    # tini is the first process of the namespace: it passes signals on and buries what the engine leaves behind.
    daemon = ("tini", "--", "dockerd", "--host=unix:///run/docker.sock")
    inside: Command = ["sh", "-c", ENTER_ROOT, "sh", state.root, f"PATH={PATH}", *proxies, *daemon]
    command: Command = [*place.entry, *namespaces, *inside]
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":" + PATH}
    return serve(command, log=state.logs / "engine.log", environment=environment)


def _has_settled(state: State, process: Process, children: Children) -> bool:
    return children.cancelled or not process.is_running() or Address(state.engine_host).is_answering()


def _remove_containers_and_networks(address: Address) -> None:
    for container in address.call("GET", "/containers/json?all=1")[1]:
        address.call("DELETE", f"/containers/{container['Id']}?force=1&v=1", seconds=15)
    for item in address.call("GET", "/networks")[1]:
        if item["Name"] not in ("bridge", "host", "none"):
            address.call("DELETE", f"/networks/{item['Id']}", seconds=15)


def _terminate(engine: Process) -> None:
    """Ask the namespace's first process to end; `unshare`, which we know, does not pass signals on but dies with it."""
    listing = Path(f"/proc/{engine.pid}/task/{engine.pid}/children")
    if listing.exists():
        for child in listing.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGTERM)
        wait_until(lambda: not engine.is_running(), 15)
    # Killed, it takes the whole namespace along (`--kill-child`).
    engine.stop(patience=0)


def _remove_cgroups(name: str) -> None:
    for top in (*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup", name)):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
