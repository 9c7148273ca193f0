"""Registries that ask who one is: by a password, or by tokens of a service that asks for it."""

from __future__ import annotations

import base64
import datetime
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bcrypt
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests import plain
from tests.conftest import machine_state
from tests.engine.conftest import free_port
from tests.serving import Quiet, answering

_NAME = "flytebuild-tests"


@dataclass
class Guarded:
    """A registry and who may use it; `asked` are the scopes that a token was given for, and how."""

    host: str = ""
    username: str = field(default_factory=lambda: f"user-{secrets.token_hex(4)}")
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    identity_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def auth(self) -> str:
        """The password as it is in files."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@contextmanager
def by_password(folder: Path) -> Iterator[Guarded]:
    """A registry with one user."""
    made = Guarded()
    digest = bcrypt.hashpw(made.password.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"{made.username}:{digest}\n")
    with _serving(folder, made, {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}):
        yield made


@contextmanager
def by_token(folder: Path) -> Iterator[Guarded]:
    """A registry that takes the tokens of a service, which takes a password or an identity token for one."""
    made = Guarded()
    key = rsa.generate_private_key(65537, 2048)
    certificate = _certificate(key)
    (folder / "root.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    with _token_service(made, key, certificate) as realm:
        settings = {"realm": realm, "service": _NAME, "issuer": _NAME, "rootcertbundle": str(folder / "root.pem")}
        with _serving(folder, made, {"token": settings}):
            yield made


@contextmanager
def _serving(folder: Path, made: Guarded, auth: dict[str, Any]) -> Iterator[None]:
    port = free_port()
    made.host = f"127.0.0.1:{port}"
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "http": {"addr": made.host},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "auth": auth,
    }
    # JSON is YAML.
    (folder / "config.yml").write_text(json.dumps(settings))
    program = machine_state() / "tools/usr/bin/docker-registry"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("REGISTRY_", "OTEL_"))}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], env=environ, stdout=log, stderr=log
        ) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while not _answers(made.host):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
            yield
        finally:
            process.terminate()


def _answers(host: str) -> bool:
    try:
        return plain.get(f"http://{host}/v2/").status_code == 401
    except httpx.HTTPError:
        return False


@contextmanager
def _token_service(made: Guarded, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> Iterator[str]:
    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query, header = parse_qs(urlsplit(self.path).query), self.headers.get("Authorization", "")
            self._answer(query, header.split()[0] if header else "nothing", header == f"Basic {made.auth}", "token")

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if form["grant_type"] == ["password"]:
                given = (form.get("username"), form.get("password"))
                self._answer(form, "password", given == ([made.username], [made.password]), "access_token")
            else:
                is_right = form.get("refresh_token") == [made.identity_token]
                self._answer(form, "identity token", is_right, "access_token")

        def _answer(self, asked: dict[str, list[str]], how: str, is_right: bool, name: str) -> None:
            scopes = [scope for item in asked.get("scope", []) for scope in item.split()]
            made.asked += [(how if is_right else f"wrong {how}", scope) for scope in scopes]
            document = {name: _token(made, scopes, key, certificate), "expires_in": 300} if is_right else {}
            content = json.dumps(document).encode()
            self.send_response(200 if is_right else 401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with answering(Handler) as host:
        yield f"http://{host}/token"


def _token(made: Guarded, scopes: list[str], key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> str:
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    claims = {
        "iss": _NAME,
        "aud": _NAME,
        "sub": made.username,
        "exp": now + 300,
        "nbf": now - 60,
        "iat": now,
        "jti": secrets.token_hex(8),
        "access": access,
    }
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{_encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=1),
        not_valid_after=now + datetime.timedelta(days=1),
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())
