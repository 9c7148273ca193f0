"""Inputs of runs in the object store: equal ones are one object, which its digest names and nobody changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flyteidl2.task.common_pb2 import Inputs

from flytebuild.runtime.stores import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """Where inputs are, and their digest."""

    uri: str
    digest: str


async def keep(store: Store, inputs: Inputs, base: str = "") -> Kept:
    """Write inputs below `base`, or where the control plane keeps such things. Raises ObjectNameError."""
    content = inputs.SerializeToString(deterministic=True)
    digest = hashlib.sha256(content).hexdigest()
    uri = f"{base.rstrip('/') or store.base}/inputs/{digest}/inputs.pb"
    await store.write(uri, content)
    return Kept(uri, digest)
