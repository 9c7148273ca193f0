"""Plans that ask nobody: with `--offline`, and a moment after somebody was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.calls import Call, Told, each
from tests.loopback import with_base

CODE = """
import flyte
image = flyte.Image.from_base("{base}").clone(name="n", extendable=True).with_workdir("/x")
env = flyte.TaskEnvironment(name="env", image=image)
"""


@contextmanager
def dead_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that notes what it is asked, and answers nothing."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def statuses(told: Told) -> list[tuple[str, str]]:
    """The status of each image and of its base."""
    return [(image["status"], image["layers"][0]["status"]) for image in json.loads(told.out)["images"]]


def test_nobody_is_asked_again_in_a_moment_nor_ever_offline(tmp_path: Path) -> None:
    write(tmp_path, "seen", "base.test/x:1")
    write(tmp_path, "unseen", "base.test/y:1")
    with with_base() as (objects, found), dead_proxy() as (proxy, proxied):
        environ = {**found, "FLYTEBUILD_FRESH": "3600"}
        through = {**environ, "FLYTEBUILD_MIRRORS": "", "HTTPS_PROXY": proxy, "NO_PROXY": ""}

        def call(folder: str, *arguments: str, **more: str) -> Call:
            return Call(tmp_path / folder, arguments, {**environ, **more})

        (first,) = each([call("seen", "plan", "--json")], tmp_path)
        assert (first.code, statuses(first)) == (0, [("missing", "present")])
        asked = list(objects.asked)
        assert asked

        again, offline, unseen, elsewhere, build = each(
            [
                call("seen", "plan", "--json"),
                call("seen", "plan", "--json", "--offline"),
                call("unseen", "plan", "--json", FLYTEBUILD_OFFLINE="1"),
                call("unseen", "plan", "--json", "--offline", **through),
                call("seen", "build", FLYTEBUILD_OFFLINE="1"),
            ],
            tmp_path,
        )
        assert objects.asked == asked
        assert proxied == []

        (refreshed,) = each([call("seen", "plan", "--json", "--refresh")], tmp_path)
        assert sorted(objects.asked) == sorted(2 * asked)
    assert [statuses(item) for item in (again, offline, refreshed)] == [[("missing", "present")]] * 3
    assert json.loads(first.out)["as_of"] is None
    assert json.loads(again.out)["as_of"] == json.loads(offline.out)["as_of"] is not None
    assert "Nobody was asked (`offline`): what is there is as of 20" in offline.err
    for told in (unseen, elsewhere):
        assert (told.code, statuses(told)) == (0, [("unknown", "unknown")])
        assert "nobody may be asked for it (`offline`), and nothing is remembered of it" in told.out
    assert (build.code, build.out) == (64, "")
    assert "This needs a network, and `offline` is set (by `FLYTEBUILD_OFFLINE`)" in build.err


def write(folder: Path, name: str, base: str) -> None:
    (folder / name).mkdir()
    (folder / name / "main.py").write_text(CODE.format(base=base))
