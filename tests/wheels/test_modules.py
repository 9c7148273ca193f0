"""The modules of wheels: by the names of their files, which are read from the ends of wheels on a server."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import Thread

import httpx
import pytest
from msgspec.structs import replace

from flytebuild.spec.layers import Pin
from flytebuild.wheels import servers
from flytebuild.wheels.modules import ModuleReader, modules
from tests.engine import packages
from tests.wheels.index import Index, served
from tests.wheels.memory import Memory


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["yaml/__init__.py", "yaml/reader.py", "_yaml/__init__.py", "PyYAML-6.dist-info/RECORD"], ["_yaml", "yaml"]),
        (["six.py", "six-1.dist-info/METADATA"], ["six"]),
        (["_cffi_backend.cpython-311-x86_64-linux-gnu.so", "cffi/__init__.py"], ["_cffi_backend", "cffi"]),
        (["google/protobuf/__init__.py", "google/protobuf/message.py", "google/_upb/_message.abi3.so"],
         ["google._upb._message", "google.protobuf"]),
        (
            [f"google/cloud/part{number}/__init__.py" for number in range(9)] + ["google/cloud/version.py"],
            [*(f"google.cloud.part{number}" for number in range(9)), "google.cloud.version"],
        ),
        (["google/cloud/storage/__init__.py", "google/cloud/storage/blob.py"], ["google.cloud.storage"]),
        ([f"google/api/part{number}_pb2.py" for number in range(9)] + ["google/rpc/code_pb2.py"],
         ["google.api", "google.rpc.code_pb2"]),
        ([f"part{number}.py" for number in range(9)], [f"part{number}" for number in range(9)]),
        (["numpy.libs/libgfortran.so", "numpy/__init__.py", "numpy/core/a.so"], ["numpy"]),
        (["thing-1.data/purelib/thing/__init__.py", "thing-1.data/scripts/thing.py", "thing-1.data/x.py"], ["thing"]),
        (["pandas-stubs/__init__.pyi", "hook.pth", "share/doc/readme.txt"], []),
        (["package/__init__.cpython-311-x86_64-linux-gnu.so", "package/inner.py"], ["package"]),
        (["nvidia/cublas/lib/libcublas.so.12", "nvidia/cublas/__init__.py"], ["nvidia.cublas"]),
    ],
)  # fmt: skip
def test_modules_are_those_that_can_be_imported(files: Sequence[str], found: Sequence[str]) -> None:
    assert modules(files) == tuple(found)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with served(tmp_path) as found:
        found.add("leaf", "1.0")
        yield found


def pin(index: Index, name: str, place: str = "simple") -> Pin:
    ((file, content),) = index.files[name].items()
    url = f"http://{index.address}/{place}/{name}/{file}"
    return Pin(name, "1.0", file, sha256(content).hexdigest(), url, len(content))


def test_a_wheel_is_read_once_and_only_its_end(index: Index, tmp_path: Path) -> None:
    more = {f"big/{'long' * 20}_{number}.py": "" for number in range(500)}
    big = packages.wheel(tmp_path / "big", "big", "1.0", more={**more, "big/__init__.py": ""})
    far = packages.padded(tmp_path / "far", "far", "1.0", 300_000)
    for path in (big, far):
        index.files[path.name.partition("-")[0]] = {path.name: path.read_bytes()}
    memory, wanted = Memory(), [pin(index, name) for name in ("leaf", "big", "far")]
    named = ModuleReader(memory).named(wanted).pins
    assert [item.modules for item in named] == [("leaf",), ("big",), ("far",)]
    assert named == tuple(wanted), "the same wheels"
    asked = sorted(path.rpartition("/")[2] for path in index.requests)
    assert asked == [big.name, big.name, far.name, "leaf-1.0-py3-none-any.whl"]
    index.requests.clear()
    assert [item.modules for item in ModuleReader(memory).named(wanted).pins] == [("leaf",), ("big",), ("far",)]
    assert ModuleReader(Memory()).named(named).pins[0].modules == ("leaf",)
    assert index.requests == []


def test_a_wheel_that_tells_nothing_is_as_it_was(index: Index, tmp_path: Path) -> None:
    """One that not everybody may see, a page in its place, a server that gives only whole and large wheels, or none."""
    closed = [pin(index, "leaf", place) for place in ("private", "busy", "limited", "login")]
    far = packages.padded(tmp_path / "far", "far", "1.0", 300_000)
    index.files["far"] = {far.name: far.read_bytes()}
    index.has_ranges = False
    gone = replace(pin(index, "leaf"), url=f"{index.url}/leaf/gone.whl")
    urls = ("", "file:///srv/leaf.whl", "http://127.0.0.1:1/leaf", "http://[/leaf")
    nowhere = [replace(gone, url=url) for url in urls]
    for item in (*closed, gone, *nowhere, pin(index, "far")):
        memory = Memory()
        assert (ModuleReader(memory).named([item]).pins[0].modules, memory.texts) == (None, {}), item.url
    assert ModuleReader(Memory()).named([pin(index, "leaf")]).pins[0].modules == ("leaf",)


def test_a_host_that_does_not_answer_is_waited_for_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wheels it has: those that are asked after at the same time wait, and the others no more."""
    leaf = pin(index, "leaf")
    with hanging() as (host, calls):
        lost = [replace(leaf, sha256=f"{number:064x}", url=f"http://{host}/{number}.whl") for number in range(40)]
        with monkeypatch.context() as patched:
            patched.setattr(servers, "_TIMEOUT", httpx.Timeout(60, read=0.2))
            found = ModuleReader(Memory()).named(lost)
        assert (found.pins, found.silent) == (tuple(lost), (host,))
        assert 1 <= len(calls) <= 8
        assert {item.modules for item in found.pins} == {None}
    assert ModuleReader(Memory()).named([leaf]).silent == ()


@contextmanager
def hanging() -> Iterator[tuple[str, list[socket.socket]]]:
    """A host that takes every connection, and says nothing; with those that it took."""
    taken = list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = Thread(target=take)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for item in taken:
                item.close()
