"""A daemon of the simplest kind: a gRPC server that answers as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def daemon(
    path: Path, answers: Mapping[str, Answer], streams: Mapping[str, grpc.RpcMethodHandler] | None = None
) -> Iterator[str]:
    """Answers the named methods of the control service, and refuses all others; gives its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in answers.items()}
    handlers.update(streams or {})
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("moby.buildkit.v1.Control", handlers)])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield f"unix://{path}"
    finally:
        server.stop(0).wait()
