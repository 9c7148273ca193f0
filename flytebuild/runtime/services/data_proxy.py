"""DataProxyService: data in and out of the object store, and logs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.dataproxy import dataproxy_service_pb2 as pb
from flyteidl2.dataproxy.dataproxy_service_connect import DataProxyService
from flyteidl2.logs.dataplane.payload_pb2 import LogLine, LogLineOriginator
from flyteidl2.task.common_pb2 import Inputs, Outputs

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.logs import LogBook
from flytebuild.runtime.model import ActionKey, Attempt, now
from flytebuild.runtime.services import Context
from flytebuild.runtime.services.bundle import bundle_of
from flytebuild.runtime.services.convert import key_of, refusals, timestamp
from flytebuild.runtime.services.inputs import keep
from flytebuild.runtime.services.run import outputs_file
from flytebuild.runtime.stores import Store
from flytebuild.runtime.transfer import Links

_LINK_SECONDS = 3600.0


class DataProxy(DataProxyService):  # type: ignore[misc]
    """Hands out links, keeps inputs, reads outputs, streams logs."""

    def __init__(self, ledger: Ledger, store: Store, logs: LogBook, links: Links) -> None:
        self._ledger = ledger
        self._store = store
        self._logs = logs
        self._links = links

    async def create_upload_location(
        self, request: pb.CreateUploadLocationRequest, ctx: Context
    ) -> pb.CreateUploadLocationResponse:
        """A link to PUT a file to.

        The object's name is its content's digest: the SDK remembers for a day what it has uploaded, and what it
        remembers must stay true. Files of a folder lie together instead, below a name that the SDK has made up.
        """
        if len(request.content_md5) != hashlib.md5(usedforsecurity=False).digest_size:
            raise ConnectError(Code.INVALID_ARGUMENT, "an upload must name the MD5 digest of its content")
        with refusals():
            name = (request.filename or "content").rpartition("/")[2]
            place = f"folders/{request.filename_root}" if request.filename_root else request.content_md5.hex()
            uri = f"{self._store.base}/uploads/{place}/{name}"
            self._store.check(uri)
        lifetime = request.expires_in.seconds or _LINK_SECONDS
        return pb.CreateUploadLocationResponse(
            signed_url=_origin(ctx) + self._links.make("PUT", uri, lifetime, request.content_md5.hex()),
            native_url=uri,
            expires_at=timestamp(now() + timedelta(seconds=lifetime)),
        )

    async def upload_inputs(self, request: pb.UploadInputsRequest, _ctx: Context) -> pb.UploadInputsResponse:
        """Keep a run's inputs; equal inputs are one object."""
        with refusals():
            kept = await keep(self._store, request.inputs, request.base_dir)
        return pb.UploadInputsResponse(offloaded_input_data=OffloadedInputData(uri=kept.uri, inputs_hash=kept.digest))

    async def get_action_data(self, request: pb.GetActionDataRequest, _ctx: Context) -> pb.GetActionDataResponse:
        """An action's inputs and outputs, as far as there are any."""
        with refusals():
            action = self._ledger.action(key_of(request.action_id))
            outputs_uri = outputs_file(action)
            inputs = await self._store.read(action.input_uri) if action.input_uri else None
            outputs = await self._store.read(outputs_uri) if outputs_uri else None
        return pb.GetActionDataResponse(
            inputs=Inputs.FromString(inputs or b""),
            outputs=Outputs.FromString(outputs or b""),
            inputs_uri=action.input_uri,
            outputs_uri=outputs_uri,
        )

    async def create_download_link(
        self, request: pb.CreateDownloadLinkRequest, ctx: Context
    ) -> pb.CreateDownloadLinkResponse:
        """A link to an attempt's report or to its code bundle."""
        with refusals():
            key = key_of(request.action_attempt_id.action_id)
            if request.artifact_type == pb.ARTIFACT_TYPE_REPORT:
                uri = f"{self._attempt(key, request.action_attempt_id.attempt).outputs}/report.html"
            else:
                uri = self._bundle(key)
            if not uri or await self._store.size(uri) is None:
                raise ConnectError(Code.NOT_FOUND, f"action `{key.name}` has no such artifact")
        lifetime = request.expires_in.seconds or _LINK_SECONDS
        urls = pb.PreSignedURLs(
            signed_url=[_origin(ctx) + self._links.make("GET", uri, lifetime)],
            expires_at=timestamp(now() + timedelta(seconds=lifetime)),
        )
        return pb.CreateDownloadLinkResponse(pre_signed_urls=urls)

    async def tail_logs(self, request: pb.TailLogsRequest, _ctx: Context) -> AsyncIterator[pb.TailLogsResponse]:
        """An attempt's log as it is written, until the attempt has ended."""
        key = key_of(request.action_id)
        with refusals():
            number = self._attempt(key, request.attempt).number

            def is_over() -> bool:
                return self._attempt(key, number).phase.is_terminal

            async for batch in self._logs.follow(key, number, is_over):
                lines = [
                    LogLine(
                        message=f"{line.text}\n",
                        timestamp=timestamp(line.at) if line.at else None,
                        originator=LogLineOriginator.USER,
                    )
                    for line in batch
                ]
                yield pb.TailLogsResponse(logs=[pb.TailLogsResponse.Logs(lines=lines)])

    def _attempt(self, key: ActionKey, number: int) -> Attempt:
        """An attempt by its number, 0 for the newest."""
        attempts = self._ledger.action(key).attempts
        if not attempts or number > len(attempts):
            raise ConnectError(Code.NOT_FOUND, f"action `{key.name}` has no attempt {number or 1} yet")
        return attempts[number - 1]

    def _bundle(self, key: ActionKey) -> str:
        action = self._ledger.action(key)
        return bundle_of(action.task.task_template) if action.task is not None else ""


def _origin(ctx: Context) -> str:
    """The address by which the caller reached us, which is the one that its links must have."""
    headers: Any = ctx.request_headers
    if callable(headers):  # A method until connectrpc 0.10, a property since.
        headers = headers()
    return f"http://{headers['host']}"
