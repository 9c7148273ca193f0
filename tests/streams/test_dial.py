from __future__ import annotations

import socket
from contextlib import closing

from flytebuild.engine import EngineAddress
from flytebuild.streams.dial import dial


def test_small_messages_to_an_engine_elsewhere_do_not_wait_for_one_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = EngineAddress(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "the test")
        with closing(dial(address)) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
