"""Joined streams carry bytes both ways, and end together."""

import contextlib
import socket

from flytebuild.streams.splice import Bridge, splice


def test_bytes_go_both_ways_and_closing_one_end_closes_the_other() -> None:
    near, one = socket.socketpair()
    other, far = socket.socketpair()
    threads = splice(one, other)
    near.sendall(b"there")
    assert far.recv(16) == b"there"
    far.sendall(b"back")
    assert near.recv(16) == b"back"
    near.close()
    assert far.recv(16) == b""
    far.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_who_has_said_all_still_gets_the_answer() -> None:
    near, one = socket.socketpair()
    other, far = socket.socketpair()
    threads = splice(one, other)
    near.sendall(b"question")
    near.shutdown(socket.SHUT_WR)
    far.settimeout(10)
    assert far.recv(16) == b"question"
    assert far.recv(16) == b""
    far.sendall(b"answer")
    far.close()
    near.settimeout(10)
    assert near.recv(16) == b"answer"
    assert near.recv(16) == b""
    near.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_bridge_dials_once_per_connection_and_leaves_nothing_behind() -> None:
    far_ends = []

    def dial() -> socket.socket:
        ours, theirs = socket.socketpair()
        far_ends.append(theirs)
        return ours

    bridge = Bridge(dial)
    path = bridge.target.removeprefix("unix:")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"hello")
        client.settimeout(10)
        # The far end exists once the bridge has dialled, which the echo proves.
        while not far_ends:
            pass
        assert far_ends[0].recv(16) == b"hello"
        bridge.close()
        with contextlib.suppress(ConnectionError):
            assert client.recv(16) == b""
    far_ends[0].close()
    with socket.socket(socket.AF_UNIX) as late:
        assert late.connect_ex(path) != 0


def test_a_dial_that_fails_closes_the_connection() -> None:
    def refuse() -> socket.socket:
        raise ConnectionRefusedError

    bridge = Bridge(refuse)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(bridge.target.removeprefix("unix:"))
        client.settimeout(10)
        assert client.recv(16) == b""
    bridge.close()
