"""How a BuildKit is reached: a gRPC channel, and the way of sessions.

Docker Engines before API 1.53 hand out their BuildKit through `POST /grpc` with an upgrade to HTTP/2, and take
sessions at `POST /session` in the same way; later ones speak gRPC on the API's own address, and call both deprecated
(moby `api/docs/CHANGELOG.md`). Every other BuildKit speaks nothing but gRPC, and takes sessions by `Control.Session`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import grpc
from msgspec import Struct

from flytebuild.buildkit.address import DaemonAddress, Plain, Secured, Through, unanswered
from flytebuild.buildkit.session_stream import OpenSession, by_control, by_upgrade
from flytebuild.buildkit.upgrade import ask_version, upgrade
from flytebuild.engine import EngineAddress
from flytebuild.errors import ConfigError
from flytebuild.streams import tls
from flytebuild.streams.dial import dialler
from flytebuild.streams.dialler import Dialler
from flytebuild.streams.splice import Bridge, close

_DIRECT_SINCE = (1, 53)
_DIAGNOSIS_DEADLINE = 5.0
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)
SIGN_OF_LIFE = 310.0
"""Seconds of silence after which a daemon is asked whether it is there: a host that has vanished says nothing.

Go's servers hang up on who asks more often than every five minutes (grpc-go `keepalive.EnforcementPolicy`).
"""

_ANSWER = 30.0
"""Seconds that the answer may take, and the peer's kernel to confirm what was sent."""

_LOCAL = ("grpc.default_authority", "localhost")
"""Go's servers accept a socket's path as authority, proxies may not."""


class Transport(Struct, frozen=True):
    """The channel, what opens sessions, why it broke as far as that is known, and what ends it all."""

    channel: grpc.Channel
    open_session: OpenSession
    complaint: Callable[[], str]
    close: Callable[[], None]


def to_engine(address: EngineAddress) -> Transport:
    """The way to an engine, which is asked for its version. Raises EngineUnavailableError when it does not answer."""
    made = dialler(address)
    try:
        version = ask_version(made.dial())
    except OSError as error:
        raise unanswered(address, made.complaint() or str(error)) from error
    finally:
        made.join()
    # Whether gRPC is taken behind TLS as well is not known.
    if version < _DIRECT_SINCE or address.tls:
        return _bridged(made, lambda: _upgraded(made), by_upgrade(made))
    parts = urlsplit(address.url)
    if parts.scheme == "ssh":
        return _bridged(made, made.dial)
    target = f"unix:{parts.path}" if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 2375}"
    return _direct(grpc.insecure_channel(target, options=_options(target)))


def to_daemon(address: DaemonAddress) -> Transport:
    """The way to a BuildKit that is no Docker Engine. Raises ConfigError for certificates that cannot be used."""
    match address.way:
        case Plain(target=target):
            return _direct(grpc.insecure_channel(target, options=_options(target)))
        case Through(command=command):
            made = Dialler(lambda dialler: dialler.run(command))
            return _bridged(made, made.dial)
        case Secured() as way:
            return _secured(address, way)


def _direct(channel: grpc.Channel, complaint: Callable[[], str] = str) -> Transport:
    """Over connections that grpcio makes itself."""
    return Transport(channel, by_control(channel), complaint, channel.close)


def _bridged(made: Dialler, dial: Callable[[], socket.socket], open_session: OpenSession | None = None) -> Transport:
    """Over streams that we open ourselves."""
    closing = ExitStack()
    closing.callback(made.join)
    bridge = Bridge(dial)
    closing.callback(bridge.close)
    channel = grpc.insecure_channel(bridge.target, options=_options(bridge.target))
    closing.callback(channel.close)
    return Transport(channel, open_session or by_control(channel), made.complaint, closing.close)


def _secured(address: DaemonAddress, way: Secured) -> Transport:
    given = way.certificates
    try:
        paths = (given.ca or tls.system_authorities(), given.key, given.certificate)
        contents = [path.read_bytes() if path else None for path in paths]
        # grpcio would say nothing of a file that is none, and take nothing for it.
        context = tls.client_context(given.ca, given.certificate, given.key)
    except OSError as error:
        said = tls.words(error) if isinstance(error, ssl.SSLError) else f"{error.strerror}: `{error.filename}`"
        raise ConfigError(
            f"The certificates for the BuildKit at `{address.url}` cannot be used ({said})",
            hint="mend `builder_ca`, `builder_cert` or `builder_key` in the configuration",
        ) from error
    name = (("grpc.ssl_target_name_override", given.server_name),) if given.server_name else ()
    options = (*_options(way.target), *name)
    channel = grpc.secure_channel(way.target, grpc.ssl_channel_credentials(*contents), options=options)

    def diagnose() -> str:
        parts = urlsplit(address.url)
        host = parts.hostname or ""
        return tls.diagnose(host, parts.port or 0, context, given.server_name or host, _DIAGNOSIS_DEADLINE)

    return _direct(channel, diagnose)


def _options(target: str) -> tuple[tuple[str, object], ...]:
    asking = (
        ("grpc.keepalive_time_ms", int(SIGN_OF_LIFE * 1000)),
        ("grpc.keepalive_timeout_ms", int(min(SIGN_OF_LIFE, _ANSWER) * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
    )
    return (*_OPTIONS, *asking, *((_LOCAL,) if target.startswith("unix:") else ()))


def _upgraded(made: Dialler) -> socket.socket:
    connection = made.dial()
    try:
        upgrade(connection, "/grpc", "h2c")
    except OSError as error:
        made.fail(str(error))
        close(connection)
        raise
    return connection
