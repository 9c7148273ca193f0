"""The few calls of the Docker Engine's HTTP API that are needed here, over a unix socket or TCP."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Address:
    """Where an engine is: a `DOCKER_HOST`, and the folder with `ca.pem`, `cert.pem` and `key.pem` where TLS is used."""

    host: str
    certificates: Path | None = None

    def is_answering(self) -> bool:
        try:
            status, _ = self.call("GET", "/_ping")
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return status == 200

    def is_local(self) -> bool:
        """Whether the engine shares this machine's loopback, so that it reaches a registry there."""
        if not self.host.startswith("unix://"):
            return False
        _, about = self.call("GET", "/info")
        options = about.get("SecurityOptions") or []
        # Docker Desktop runs in a virtual machine, and a rootless engine in a network of its own.
        return bool(about["Name"] == socket.gethostname()) and "name=rootless" not in options

    def call(self, method: str, path: str, *, seconds: float = 5.0) -> tuple[int, Any]:
        """One request; the status, and the document in the answer, if it is one."""
        connection = self._connect(seconds)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        is_document = (response.getheader("Content-Type") or "").startswith("application/json")
        return response.status, json.loads(body) if is_document else None

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        url = urlsplit(self.host)
        if url.scheme == "unix":
            return _UnixConnection(url.path, seconds)
        if url.scheme not in ("tcp", "http", "https") or not url.hostname:
            raise ValueError(f"no way to reach {self.host}")
        if self.certificates:
            context = ssl.create_default_context(cafile=self.certificates / "ca.pem")
            context.load_cert_chain(self.certificates / "cert.pem", self.certificates / "key.pem")
            return http.client.HTTPSConnection(url.hostname, url.port or 2376, timeout=seconds, context=context)
        return http.client.HTTPConnection(url.hostname, url.port or 2375, timeout=seconds)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fsencode(self._path))
