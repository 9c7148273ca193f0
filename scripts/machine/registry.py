"""A registry on the loopback: Debian's docker-registry, on a port that stays."""

from __future__ import annotations

import http.client
import json
import os
import socket

from scripts.machine.processes import Children, Command, Process, last_line, serve, wait_until
from scripts.machine.report import MachineError, say
from scripts.machine.state import Record, State

FIRST_PORT = 5100
PORTS = 800


def is_running(record: Record) -> bool:
    return bool(record.registry and record.registry.is_running() and _is_answering(record.registry_port))


def start(state: State, record: Record, children: Children) -> None:
    """Start it on the port it had, or on another one when that is taken by now."""
    if record.registry:
        record.registry.stop(patience=2)
    for port in _ports(state, record):
        if _is_free(port) and (process := _serve(state, port, children)):
            record.registry, record.registry_port = process, port
            record.save(state)
            say("registry", f"answers on 127.0.0.1:{port}")
            return
    log = state.logs / "registry.log"
    raise MachineError(f"The registry did not start: {last_line(log)}", hint=f"its log is `{log}`")


def stop(record: Record) -> None:
    if record.registry and record.registry.is_running():
        say("registry", "stopping ...")
        record.registry.stop(patience=5)
    record.registry = None


def _ports(state: State, record: Record) -> list[int]:
    """A few ports that are this folder's own as far as that goes, below those of outgoing connections."""
    offset = int(state.name[2:], 16)
    own = [FIRST_PORT + (offset + step) % PORTS for step in range(5)]
    return [record.registry_port, *own] if record.registry_port else own


def _serve(state: State, port: int, children: Children) -> Process | None:
    """Start it on one port; None when it ends again, which it does when somebody else was faster."""
    state.registry.mkdir(exist_ok=True)
    configuration = {
        "version": "0.1",
        "log": {"level": "warn"},
        "http": {"addr": f"127.0.0.1:{port}"},
        "storage": {
            "filesystem": {"rootdirectory": str(state.registry / "data")},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
    }
    # JSON is YAML.
    (state.registry / "config.yml").write_text(json.dumps(configuration, indent=2) + "\n")
    command: Command = [state.tools / "usr/bin/docker-registry", "serve", state.registry / "config.yml"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    process = serve(command, log=state.logs / "registry.log", environment=environment)
    try:
        wait_until(lambda: children.cancelled or not process.is_running() or _is_answering(port), 20)
        children.check()
    except BaseException:
        process.stop(patience=0)
        raise
    return process if process.is_running() else None


def _is_answering(port: int | None) -> bool:
    if port is None:
        return False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
