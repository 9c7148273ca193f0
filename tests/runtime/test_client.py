from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from flytebuild.config import Config
from flytebuild.errors import ControlPlaneError
from flytebuild.runtime import __main__ as main
from flytebuild.runtime import client, process
from flytebuild.runtime.app import ControlPlane
from flytebuild.runtime.credentials import load_or_create
from flytebuild.runtime.listening import listen
from flytebuild.runtime.server import serve, serving, stop_signal


def at_default_port(home: Path) -> client.ControlPlane:
    return client.ControlPlane("http://127.0.0.1:8199", os.getpid(), home)


def test_variables_for_the_sdk(tmp_path: Path) -> None:
    found = client.flyte_environment(at_default_port(tmp_path))
    assert found["FLYTECTL_CONFIG"] == str(tmp_path / "config.yaml")
    assert found["FLYTE_ADMIN_ENDPOINT"] == "dns:///127.0.0.1:8199"
    assert found["FLYTE_AWS_ENDPOINT"] == "http://127.0.0.1:8199/s3"
    assert found["FLYTE_AWS_ACCESS_KEY_ID"] == load_or_create(tmp_path).key_id


def test_credentials_are_made_once_and_kept_private(tmp_path: Path) -> None:
    assert load_or_create(tmp_path) == load_or_create(tmp_path)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_credentials_that_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text("{")
    with pytest.raises(ControlPlaneError, match=r"credentials\.json` cannot be read"):
        load_or_create(tmp_path)


def test_settings_survive_the_command_line(tmp_path: Path) -> None:
    config = Config(home=tmp_path, port=8300, mirrors={"ghcr.io": "127.0.0.1:5000/ghcr.io"}, ca_bundle=Path("/ca.pem"))
    assert main.settings(process.command(config)[2:]) == config


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    config = Config(home=tmp_path, port=8199, ca_bundle=tmp_path / "nothing.pem")
    with pytest.raises(ControlPlaneError, match=r"nothing\.pem"):
        asyncio.run(serve(config))


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        config = Config(home=tmp_path, port=sock.getsockname()[1])
        assert client.find(config) is None
        assert client.stop(config) is process.End.NOT_RUNNING


def test_a_stranger_at_the_port(server: str, tmp_path: Path) -> None:
    """What answers there is a control plane, but of another folder."""
    config = Config(home=tmp_path / "mine", port=int(server.rpartition(":")[2]))
    assert client.find(config) is None
    with pytest.raises(ControlPlaneError, match=f"belongs to the control plane of `{tmp_path}`") as error:
        client.ensure(config)
    assert error.value.hint
    assert "FLYTEBUILD_PORT" in error.value.hint


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(ControlPlaneError, match="taken"), listen(sock.getsockname()[1], None):
            pass


def test_a_bridge_that_is_elsewhere_is_left_out() -> None:
    with listen(0, "192.0.2.77") as sockets:
        assert [sock.getsockname()[0] for sock in sockets] == ["127.0.0.1"]


def test_small_answers_are_sent_at_once() -> None:
    """Without the option, each round trip waits for the other side's delayed acknowledgement."""

    async def no_delay_of_a_connection() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def look(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock = writer.get_extra_info("socket")
            found.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen(0, None) as sockets:
            async with await asyncio.start_server(look, sock=sockets[0]):
                _, writer = await asyncio.open_connection(*sockets[0].getsockname())
                value = await found
                writer.close()
                await writer.wait_closed()
                return value

    assert asyncio.run(no_delay_of_a_connection())


def test_a_server_that_cannot_serve(plane: ControlPlane) -> None:
    """A socket that is no longer one stands for whatever ends uvicorn."""

    async def attempt() -> None:
        sock = socket.socket()
        sock.close()
        async with serving(plane, [sock]) as ended:
            await stop_signal(ended)

    with pytest.raises(ControlPlaneError, match=r"^The control plane's server has stopped: \w+Error: "):
        asyncio.run(attempt())


def test_an_address_that_cannot_be_bound() -> None:
    with pytest.raises(ControlPlaneError, match="cannot be served"), listen(0, "::1%nowhere"):
        pass
