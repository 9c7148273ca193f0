"""The code that a task brings along: an upload whose address stands in its arguments."""

from __future__ import annotations

import itertools

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.core.tasks_pb2 import TaskTemplate

from flytebuild.runtime.storage import BUCKET, ObjectStore

_FLAGS = ("--tgz", "--pkl")


def bundle_of(template: TaskTemplate) -> str:
    """The address of a task's code, or nothing when its image holds it."""
    return next((uri for flag, uri in itertools.pairwise(template.container.args) if flag in _FLAGS), "")


def check_bundle(store: ObjectStore, template: TaskTemplate) -> None:
    """Refuse a task whose code is gone before its containers find out one by one."""
    uri = bundle_of(template)
    if uri.startswith(f"s3://{BUCKET}/") and not store.has(uri):
        raise ConnectError(
            Code.FAILED_PRECONDITION,
            f"the code bundle `{uri}` is not in this control plane's store, while the SDK remembers to have "
            "uploaded it; `flyte delete local-cache`, in the folder that you started from, lets it upload it again",
        )
