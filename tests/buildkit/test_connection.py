"""What is said when a BuildKit cannot be reached or used."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from flytebuild.buildkit._pb import control_pb2, ops_pb2
from flytebuild.buildkit.address import Certificates, parse
from flytebuild.buildkit.connection import Connection
from flytebuild.engine import EngineAddress
from flytebuild.errors import ConfigError, EngineUnavailableError
from flytebuild.spec.images import Platform
from tests.buildkit.daemon import Answer, daemon
from tests.buildkit.doors import Authority, tls_door, unix_listener


def failure(connection: Connection) -> EngineUnavailableError:
    """Why the worker cannot be asked."""
    with connection, pytest.raises(EngineUnavailableError) as caught:
        connection.worker()
    assert caught.value.exit_code == 69
    assert caught.value.hint
    return caught.value


def test_nobody_listens(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nothing.sock"
    told = failure(Connection.open(parse(url, "`BUILDKIT_HOST`")))
    assert told.message == f"No BuildKit answers at `{url}` (from `BUILDKIT_HOST`): No such file or directory"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    told = failure(Connection.open(parse(f"tcp://127.0.0.1:{port}")))
    assert told.message.endswith("Connection refused")
    assert "where it wants TLS" in (told.hint or "")


def test_an_engine_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=r"No Docker Engine answers .*: No such file or directory"):
        Connection.open(EngineAddress(f"unix://{tmp_path}/nothing.sock", "the test"))

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with unix_listener(tmp_path / "web.sock") as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(EngineUnavailableError, match=r"no Docker Engine \(status 404, without an API version\)"):
            Connection.open(EngineAddress(f"unix://{tmp_path}/web.sock", "the test"))
        thread.join()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_program_that_fails_is_quoted(tools: Path) -> None:
    put(tools, "docker", "echo 'Error response from daemon: No such container: bk' >&2; exit 1")
    told = failure(Connection.open(parse("docker-container://bk")))
    assert told.message.endswith(
        "`docker exec -i bk buildctl dial-stdio` ended with 1: Error response from daemon: No such container: bk"
    )
    assert "must do without questions" in (told.hint or "")
    put(tools, "ssh", "echo 'Host key verification failed.' >&2; exit 255")
    with pytest.raises(EngineUnavailableError, match=r"dial-stdio` ended with 255: Host key verification failed\."):
        Connection.open(EngineAddress("ssh://me@far", "`DOCKER_HOST`"))


def test_a_program_that_is_not_installed(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools))
    told = failure(Connection.open(parse("podman-container://bk")))
    assert told.message.endswith("`podman` cannot be started (No such file or directory)")


def test_a_program_that_says_nothing_has_a_deadline_and_ends(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flytebuild.buildkit.connection.DEADLINE", 0.3)
    monkeypatch.setattr("flytebuild.streams.program._GRACE", 0.1)
    put(tools, "kubectl", f"echo $$ >{tools}/pid; exec sleep 600")
    told = failure(Connection.open(parse("kube-pod://bk")))
    assert told.message.endswith("`kubectl exec -i bk -- buildctl dial-stdio` says nothing")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tools / "pid").read_text()), 0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path / "certificates")


@pytest.fixture
def port(authority: Authority, tmp_path: Path) -> Iterator[int]:
    """A port that takes TLS from those whom the authority has certified, and behind it a daemon."""
    path = tmp_path / "behind.sock"

    def far() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(path))
        return connection

    with daemon(path, {"ListWorkers": workers({})}), tls_door(authority, far) as found:
        yield found


def workers(labels: dict[str, str]) -> Answer:
    platform = ops_pb2.Platform(os="linux", architecture="arm64")
    record = control_pb2.WorkerRecord(labels=labels, platforms=[platform, platform])
    return lambda _request, _context: control_pb2.ListWorkersResponse(record=[record]).SerializeToString()


def test_certificates_that_are_not_accepted(authority: Authority, port: int, tmp_path: Path) -> None:
    other = Authority.made(tmp_path / "others")
    good, bad = authority.certify("me.example"), other.certify("me.example")

    def opened(certificates: Certificates, host: str = "localhost") -> Connection:
        return Connection.open(parse(f"tcp://{host}:{port}", certificates=certificates))

    with opened(Certificates(authority.file, *good)) as connection:
        assert connection.worker().platforms == (Platform("linux", "arm64"),)
    told = failure(opened(Certificates(authority.file, *bad)))
    assert "it refuses our certificate (tlsv1 alert unknown ca)" in told.message
    assert "`builder_cert`" in (told.hint or "")
    assert "it refuses our certificate" in failure(opened(Certificates(authority.file))).message
    assert "its certificate is not trusted (self-signed" in failure(opened(Certificates(other.file, *good))).message
    told = failure(opened(Certificates(authority.file, *good), host="127.0.0.1"))
    assert "its certificate is not trusted (IP address mismatch" in told.message
    with opened(Certificates(authority.file, *good, server_name="localhost"), host="127.0.0.1") as connection:
        assert connection.worker()


def test_files_that_hold_no_certificate(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.certify("me.example"), authority.certify("you.example")
    (tmp_path / "text").write_text("nothing of the kind")
    for given, reason in (
        (Certificates(tmp_path / "nothing"), f"No such file or directory: `{tmp_path}/nothing`"),
        (Certificates(tmp_path / "text"), "no certificate or crl found"),
        (Certificates(authority.file, good[0], other[1]), "key values mismatch"),
    ):
        with pytest.raises(ConfigError) as caught:
            Connection.open(parse("tcp://localhost:1", certificates=given))
        assert caught.value.message.endswith(f"cannot be used ({reason})")


def test_what_a_worker_says_of_itself(tmp_path: Path) -> None:
    for number, (labels, expected) in enumerate(
        [({}, False), ({"org.mobyproject.buildkit.worker.snapshotter": "overlayfs"}, True)]
    ):
        address = tmp_path / f"{number}.sock"
        with daemon(address, {"ListWorkers": workers(labels)}) as url, Connection.open(parse(url)) as connection:
            assert connection.worker().has_containerd_store is expected
    nobody = control_pb2.ListWorkersResponse().SerializeToString()
    with daemon(tmp_path / "none.sock", {"ListWorkers": lambda *_: nobody}) as url:
        assert failure(Connection.open(parse(url))).message == "BuildKit answers, but has no worker"
    with daemon(tmp_path / "old.sock", {}) as url:
        assert "cannot be used: Method not found!" in failure(Connection.open(parse(url))).message


def test_a_session_that_is_refused(tmp_path: Path) -> None:
    with (
        daemon(tmp_path / "bk.sock", {}) as url,
        Connection.open(parse(url)) as connection,
        pytest.raises(EngineUnavailableError, match="cannot be used: Method not found!"),
    ):
        connection.open_session([("X-Docker-Expose-Session-Uuid", "x")])


def test_a_session_s_bytes_are_messages_of_a_call(tmp_path: Path) -> None:
    """And its end, from either side, is the call's."""
    seen: list[tuple[str, str]] = []

    def echo(requests: Iterator[control_pb2.BytesMessage], context: grpc.ServicerContext) -> Iterator[bytes]:
        seen.extend(context.invocation_metadata())
        yield control_pb2.BytesMessage(data=b"hello ").SerializeToString()
        for request in requests:
            yield request.SerializeToString()

    handler = grpc.stream_stream_rpc_method_handler(echo, control_pb2.BytesMessage.FromString)
    with daemon(tmp_path / "bk.sock", {}, {"Session": handler}) as url, Connection.open(parse(url)) as connection:
        with connection.open_session([("X-Name", "one"), ("X-Name", "two")]) as stream:
            stream.settimeout(20)
            stream.sendall(b"you")
            assert stream.recv(6, socket.MSG_WAITALL) == b"hello "
            assert stream.recv(3, socket.MSG_WAITALL) == b"you"
        assert [value for key, value in seen if key == "x-name"] == ["one", "two"]
        stream = connection.open_session([])
    stream.settimeout(20)
    with stream:
        assert b"" in iter(lambda: stream.recv(100), None)
