"""The code that a task brings along: an upload whose address stands in its arguments."""

from __future__ import annotations

import itertools

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.core.tasks_pb2 import TaskTemplate

from flytebuild.runtime.stores import Store

_FLAGS = ("--tgz", "--pkl")


def bundle_of(template: TaskTemplate) -> str:
    """The address of a task's code, or nothing when its image holds it."""
    return next((uri for flag, uri in itertools.pairwise(template.container.args) if flag in _FLAGS), "")


async def check_bundle(store: Store, template: TaskTemplate) -> None:
    """Refuse a task whose code is gone before its containers find out one by one."""
    uri = bundle_of(template)
    if uri.startswith(f"{store.base}/") and await store.size(uri) is None:
        raise ConnectError(
            Code.FAILED_PRECONDITION,
            f"the code bundle `{uri}` is not in this control plane's store, while the SDK remembers to have "
            "uploaded it; `flyte delete local-cache`, in the folder that you started from, lets it upload it again",
        )
