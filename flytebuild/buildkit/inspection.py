"""Questions to a BuildKit about itself."""

from __future__ import annotations

import uuid

import grpc

from flytebuild.buildkit._pb import control_pb2, gateway_pb2
from flytebuild.buildkit.connection import Connection
from flytebuild.streams.dial import DEADLINE

_PING = "/moby.buildkit.v1.frontend.LLBBridge/Ping"
_BUILD = "buildkit-controlapi-buildid"


def version(connection: Connection) -> str:
    """Its version, `v0.32.2`; nothing where it does not say, as inside of older engines.

    Raises EngineUnavailableError.
    """
    answer = connection.ask("Info", control_pb2.InfoRequest(), control_pb2.InfoResponse)
    said = answer.buildkit_version.version
    return "" if said.endswith("+unknown") else said


def cache_usage(connection: Connection) -> tuple[int, int]:
    """How many records the build cache has, and their bytes. Raises EngineUnavailableError."""
    answer = connection.ask("DiskUsage", control_pb2.DiskUsageRequest(), control_pb2.DiskUsageResponse)
    return len(answer.record), sum(item.size for item in answer.record)


def capabilities(connection: Connection) -> frozenset[str]:
    """What the graphs that it solves may hold, by the names of buildkit `solver/pb/caps.go`.

    Asked of the gateway, which a solve without a graph opens. Raises EngineUnavailableError.
    """
    ref = uuid.uuid4().hex
    request = control_pb2.SolveRequest(ref=ref, internal=True)
    solve = connection.unary("Solve", control_pb2.SolveResponse).future(request, timeout=DEADLINE)
    ping = connection.channel.unary_unary(
        _PING,
        request_serializer=gateway_pb2.PingRequest.SerializeToString,
        response_deserializer=gateway_pb2.PongResponse.FromString,
    )
    try:
        answer = ping(gateway_pb2.PingRequest(), metadata=((_BUILD, ref),), timeout=DEADLINE)
    except grpc.RpcError as error:
        raise connection.failure(error) from error
    finally:
        # Not ended by `Return`, which takes Docker 26 down when it is given no result.
        solve.cancel()
    return frozenset(item.id for item in answer.graph_capabilities if item.enabled)
