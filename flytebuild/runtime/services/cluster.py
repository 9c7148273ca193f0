"""ClusterService: there is one cluster, and it is where the caller is."""

from __future__ import annotations

from flyteidl2.cluster import payload_pb2 as pb
from flyteidl2.cluster.service_connect import ClusterService

from flytebuild.runtime.services import Context


class Cluster(ClusterService):  # type: ignore[misc]
    """Answers with an empty endpoint, which the SDK reads as "here"."""

    async def select_cluster(self, _request: pb.SelectClusterRequest, _ctx: Context) -> pb.SelectClusterResponse:
        """Whatever the operation, it is done here."""
        return pb.SelectClusterResponse()
