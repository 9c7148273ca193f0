"""What a session serves, called by grpcio over a real socket."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from flytebuild.buildkit._pb import session_pb2
from flytebuild.buildkit.session.providers import Health, Provider, RefusedCallError, StreamProvider
from flytebuild.buildkit.session.server import Server

UNLIMITED = [("grpc.max_receive_message_length", -1)]


@dataclass
class Served:
    """A server, and the channel of its only client."""

    server: Server
    channel: grpc.Channel

    def call(self, method: str, request: bytes = b"", **options: float) -> bytes:
        return bytes(self.channel.unary_unary(method)(request, timeout=60, **options))

    def exchange(self, method: str, requests: Iterator[bytes], **options: object) -> grpc.Call:
        return self.channel.stream_stream(method)(requests, timeout=60, **options)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    listener = socket.socket(socket.AF_UNIX)
    made: list[Served] = []

    def start(*providers: Provider | StreamProvider) -> Served:
        path = tmp_path / "s"
        listener.bind(str(path))
        listener.listen()
        channel = grpc.insecure_channel(f"unix:{path}", options=UNLIMITED)
        ready = grpc.channel_ready_future(channel)
        connection, _ = listener.accept()
        # Nobody else gets in: a client that lost its connection stays without.
        listener.close()
        server = Server(connection, (Health(), *providers))
        server.start()
        ready.result(60)
        made.append(Served(server, channel))
        return made[-1]

    yield start
    for item in made:
        item.channel.close()
        item.server.close()
    listener.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("flytebuild-session", "flytebuild-call"))]


@dataclass
class Echo:
    """Answers with what it is asked."""

    method: str = "/test/Echo"

    def answer(self, request: bytes) -> bytes:
        return request


@dataclass
class Refusing:
    sentence: str
    method: str = "/test/Refuse"

    def answer(self, request: bytes) -> bytes:
        raise RefusedCallError(5, self.sentence)


@dataclass
class Broken:
    method: str = "/test/Broken"

    def answer(self, request: bytes) -> bytes:
        raise ValueError(request)


@dataclass
class EchoStream:
    """Answers every request with itself, twice; remembers what came with the call."""

    method: str = "/test/EchoStream"
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        self.metadata = metadata
        for request in requests:
            yield request
            yield request


@dataclass
class Endless:
    """Sends for ever, and tells when it has begun and when it is stopped."""

    method: str = "/test/Endless"
    begun: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        self.begun.set()
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            self.stopped.set()


@dataclass
class Waiting:
    """Waits for a request that never comes, and tells when it has begun and when it is stopped."""

    method: str = "/test/Waiting"
    begun: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        self.begun.set()
        try:
            yield next(requests)
        finally:
            self.stopped.set()


def test_health(serve: Callable[..., Served]) -> None:
    answer = session_pb2.HealthCheckResponse.FromString(serve().call(Health().method))
    assert answer.status == 1


@pytest.mark.parametrize("size", [0, 1, 16_384, 3 << 20])
def test_one_answer(serve: Callable[..., Served], size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert serve(Echo()).call(Echo.method, content) == content


def test_a_refusal_is_a_code_and_a_sentence(serve: Callable[..., Served]) -> None:
    served = serve(Refusing("100 % `ünknown`\nline"), Broken())
    with pytest.raises(grpc.RpcError) as caught:
        served.call(Refusing.method)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "100 % `ünknown`\nline"
    with pytest.raises(grpc.RpcError) as caught:
        served.call("/test/Other")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        served.call(Broken.method, b"a value that nobody shall see")
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == "/test/Broken failed: ValueError"


def test_a_stream_is_answered_while_it_goes_on(serve: Callable[..., Served]) -> None:
    provider = EchoStream()
    answered = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for number in range(200):
            # Each waits for the answer to the one before.
            assert answered.acquire(timeout=60)
            yield bytes([number]) * number * 100

    sizes = []
    metadata = (("pattern", "a"), ("pattern", "b c"))
    for answer in serve(provider).exchange(provider.method, requests(), metadata=metadata):
        sizes.append(len(answer))
        if len(sizes) % 2 == 0:
            answered.release()
    assert sizes == [number * 100 for number in range(200) for _ in range(2)]
    assert provider.metadata["pattern"] == ["a", "b c"]


def test_more_is_sent_than_the_client_has_room_for(serve: Callable[..., Served]) -> None:
    provider = EchoStream()
    blocks = [bytes([number]) * (1 << 20) for number in range(32)]
    answers = serve(provider).exchange(provider.method, iter(blocks))
    for block in blocks:
        assert next(answers) == block
        assert next(answers) == block
    assert list(answers) == []


def test_a_client_that_takes_nothing_holds_up_no_other_call(serve: Callable[..., Served]) -> None:
    provider = Endless()
    served = serve(provider, Echo())
    stalled = [served.exchange(provider.method, iter(())) for _ in range(150)]
    for _ in range(3):
        assert served.call(Health().method)
        assert served.call(Echo.method, b"x" * 1000) == b"x" * 1000
    for call in stalled:
        call.cancel()
    assert provider.stopped.wait(60)


@dataclass
class Slow:
    """Takes nothing until it is told to, then everything."""

    method: str = "/test/Slow"
    go_on: threading.Event = field(default_factory=threading.Event)

    def exchange(self, requests: Iterator[bytes], metadata: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
        assert self.go_on.wait(60)
        yield str(sum(map(len, requests))).encode()


def test_a_provider_that_takes_nothing_holds_its_client_up_and_no_other(serve: Callable[..., Served]) -> None:
    provider, sent = Slow(), 0
    stalled, total = threading.Event(), 64 << 20

    def requests() -> Iterator[bytes]:
        nonlocal sent
        while sent < total:
            sent += 1 << 20
            if sent == 8 << 20:
                stalled.set()
            yield bytes(1 << 20)

    served = serve(provider)
    answers = served.exchange(provider.method, requests())
    assert stalled.wait(60)
    for _ in range(20):
        assert served.call(Health().method)
    # Some of it waits here, some in grpcio, and some in sockets; most of it does not.
    assert sent < 40 << 20
    provider.go_on.set()
    assert list(answers) == [str(total).encode()]


def test_a_call_that_is_given_up_ends_its_provider(serve: Callable[..., Served]) -> None:
    provider = Waiting()
    served = serve(provider)
    call = served.exchange(provider.method, silence := Silence())
    assert provider.begun.wait(60)
    call.cancel()
    assert provider.stopped.wait(60)
    silence.end.set()
    assert served.call(Health().method)


def test_closing_ends_every_call(serve: Callable[..., Served]) -> None:
    waiting, endless = Waiting(), Endless()
    served = serve(waiting, endless)
    silence = Silence()
    calls = [served.exchange(waiting.method, silence), served.exchange(endless.method, iter(()))]
    assert waiting.begun.wait(60)
    assert endless.begun.wait(60)
    served.server.close()
    assert waiting.stopped.wait(60)
    assert endless.stopped.wait(60)
    silence.end.set()
    for call in calls:
        with pytest.raises(grpc.RpcError):
            list(call)


def test_a_connection_that_is_lost_is_told_apart_from_one_that_is_closed() -> None:
    for is_lost in (False, True):
        lost = threading.Event()
        ours, theirs = socket.socketpair()
        server = Server(ours, (Health(),), on_loss=lost.set)
        server.start()
        if is_lost:
            theirs.close()
            assert lost.wait(60)
        server.close()
        theirs.close()
        assert lost.is_set() is is_lost


def test_something_else_than_http2() -> None:
    ours, theirs = socket.socketpair()
    server = Server(ours, (Health(),))
    server.start()
    with theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        theirs.settimeout(60)
        while theirs.recv(4096):
            pass
    server.close()


class Silence:
    """Requests of a client that sends none until it is told to end."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.end.wait(60)
        raise StopIteration
