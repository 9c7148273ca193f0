"""One solve: send a graph, or what a frontend makes one of; follow it, publish its result."""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Mapping, Sequence

import grpc
from msgspec import Struct

from flytebuild.buildkit import failure
from flytebuild.buildkit._pb import control_pb2, ops_pb2
from flytebuild.buildkit.connection import Connection
from flytebuild.buildkit.excess import find_excess, name_of
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.failure import Failure
from flytebuild.buildkit.frontend import Frontend
from flytebuild.buildkit.progress import Progress
from flytebuild.spec.images import Platform, RuntimeConfig

MANIFEST_DIGEST = "containerimage.digest"
CACHE_MANIFEST = "cache.manifest"
_STATUS_DEADLINE = 5.0
"""Seconds that the status stream may need after the solve has ended, to deliver the last logs."""


class Cache(Struct, frozen=True):
    """A cache that results are looked up in or written to: a kind (`registry`, `inline`) and its attributes."""

    type: str
    attrs: Mapping[str, str]


class SolveError(Exception):
    """Raised when a solve fails; carries what BuildKit said."""

    def __init__(self, reason: Failure) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Solve:
    """A solve that can be cancelled from another thread: cancelling stops its steps on the daemon."""

    def __init__(self, connection: Connection, session: str) -> None:
        self._connection = connection
        self._session = session
        self._lock = threading.Lock()
        self._call: grpc.Future | None = None
        self._cancelled = False

    def run(
        self,
        work: ops_pb2.Definition | Frontend,
        export: Export | None,
        progress: Progress,
        *,
        imports: Sequence[Cache] = (),
        exports: Sequence[Cache] = (),
    ) -> Mapping[str, str]:
        """Block until the result is published; returns the exporters' answers. Raises SolveError.

        Without an export the result is only kept in the daemon's cache. A frontend makes the image's config itself,
        unless the export brings one. All solves that run at the same time should import the same caches in the same
        order: where two share a vertex, BuildKit may look only where the first one asked it to (moby/buildkit#4674).
        """
        ref = uuid.uuid4().hex
        request = control_pb2.SolveRequest(ref=ref, session=self._session, internal=True)
        if isinstance(work, Frontend):
            request.frontend = work.name
            request.frontend_attrs.update(work.attrs)
            for name, definition in work.inputs.items():
                request.frontend_inputs[name].CopyFrom(definition)
            # A frontend's own solves have other imports than its request, which no frontend reads.
            if imports:
                request.frontend_attrs["cache-imports"] = json.dumps(
                    [{"Type": cache.type, "Attrs": dict(cache.attrs)} for cache in imports]
                )
        else:
            request.definition.CopyFrom(work)
        for caches, given in ((request.cache.imports, imports), (request.cache.exports, exports)):
            for cache in given:
                caches.add(type=cache.type, attrs=cache.attrs)
        if export is not None:
            request.exporters.add(type=export.type, attrs=export.attrs)
            request.exporter_deprecated = export.type
            request.exporter_attrs_deprecated.update(export.attrs)
        if excess := find_excess(request):
            if excess.vertex:
                # The daemon will not: it never hears of this one.
                progress.introduce(excess.vertex, name_of(request, excess.vertex))
            raise SolveError(excess)
        with self._lock:
            if self._cancelled:
                raise SolveError(Failure("cancelled"))
            self._call = self._connection.unary("Solve", control_pb2.SolveResponse).future(request)
        status = self._connection.stream("Status", control_pb2.StatusResponse)(control_pb2.StatusRequest(ref=ref))
        follower = threading.Thread(target=_follow, args=(status, progress), daemon=True, name="flytebuild-status")
        follower.start()
        try:
            response = self._call.result()
        except grpc.FutureCancelledError:
            raise SolveError(Failure("cancelled")) from None
        except grpc.RpcError as error:
            raise SolveError(failure.read(error)) from error
        finally:
            follower.join(_STATUS_DEADLINE)
            status.cancel()
            follower.join()
            progress.close()
        return dict(response.exporter_response)

    def cancel(self) -> None:
        """Stop the solve; `run` then raises SolveError."""
        with self._lock:
            self._cancelled = True
            if self._call is not None:
                self._call.cancel()


def image_config(config: RuntimeConfig, platform: Platform, labels: Mapping[str, str]) -> str:
    """The OCI image config that the exporter completes with layers and history; the same text for the same image."""
    container: dict[str, object] = {"Env": [f"{key}={value}" for key, value in config.env]}
    container["WorkingDir"] = config.workdir
    if config.user:
        container["User"] = config.user
    if config.entrypoint:
        container["Entrypoint"] = list(config.entrypoint)
    if config.cmd:
        container["Cmd"] = list(config.cmd)
    if config.shell:
        container["Shell"] = list(config.shell)
    container["Labels"] = {**dict(config.labels), **labels}
    container.update(json.loads(config.other) if config.other else {})
    document = {
        "architecture": platform.architecture,
        "os": platform.os,
        "config": container,
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    if platform.variant:
        document["variant"] = platform.variant
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _follow(status: grpc.Call, progress: Progress) -> None:
    # The stream's own end, also by our cancelling it, is no error of the solve's.
    with contextlib.suppress(grpc.RpcError):
        for message in status:
            progress.update(message)
