#!/opt/venv/bin/python
"""A frontend for tests: the daemon's own reads the file for it, and the image gets a label that says so.

It speaks `moby.buildkit.v1.frontend.LLBBridge` over its standard streams, with messages made by hand:
https://github.com/moby/buildkit/blob/master/frontend/gateway/pb/gateway.proto
"""

import os
import socket
import threading

import grpc

PLACE = "/tmp/bridge.sock"


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(message: bytes) -> dict[int, list[bytes]]:
    """The fields of a message in which all have lengths."""
    found: dict[int, list[bytes]] = {}

    def read() -> int:
        nonlocal message
        result = shift = 0
        while True:
            byte, message = message[0], message[1:]
            result |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return result

    while message:
        number = read() >> 3
        length = read()
        found.setdefault(number, []).append(message[:length])
        message = message[length:]
    return found


def pump(source: int, target: int) -> None:
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(target, data) :]


def serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    threading.Thread(target=pump, args=(connection.fileno(), 1), daemon=True).start()
    pump(0, connection.fileno())


def main() -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(PLACE)
    listener.listen()
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    channel = grpc.insecure_channel(f"unix:{PLACE}", options=[("grpc.default_authority", "localhost")])

    def call(method: str, request: bytes) -> bytes:
        answer: bytes = channel.unary_unary(f"/moby.buildkit.v1.frontend.LLBBridge/{method}")(request, timeout=60)
        return answer

    given = (value for name, value in os.environ.items() if name.startswith("BUILDKIT_FRONTEND_OPT_"))
    options = dict(item.split("=", 1) for item in given) | {"label:read-by": "the frontend for tests"}
    request = field(2, b"dockerfile.v0")
    for name, value in options.items():
        request += field(3, field(1, name.encode()) + field(2, value.encode()))
    for entry in fields(call("Inputs", b""))[1]:
        request += field(13, entry)
    allow_results = b"\x28\x01\x30\x01"
    (result,) = fields(call("Solve", request + allow_results))[3]
    call("Return", field(1, result))


main()
os._exit(0)
