"""Inputs and outputs as they are shown: small and readable ones, and for the others the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flytebuild.runtime.storage import ObjectNameError
from flytebuild.runtime.stores import Store
from flytebuild.runtime.web.literals import named


@dataclass(frozen=True, slots=True)
class Values:
    """Values by name, or in one sentence why they are not shown; neither where there are none."""

    items: dict[str, object] | None = None
    problem: str | None = None


async def read(store: Store, uri: str, message: Any, limit: int) -> Values:
    """The values of a file of inputs or outputs, as `message` of Flyte's protocol; not above `limit` bytes."""
    from google.protobuf.json_format import SerializeToJsonError
    from google.protobuf.message import DecodeError

    if not uri:
        return Values()
    try:
        size = await store.size(uri)
        if size is None:
            return Values(problem=f"there is no object `{uri}`")
        if size > limit:
            return Values(problem=f"too large ({size} bytes in `{uri}`)")
        content = await store.read(uri)
        return Values(named(message.FromString(content or b"").literals))
    except ObjectNameError:
        return Values(problem=f"`{uri}` is not in this control plane's object store")
    except OSError as error:
        return Values(problem=f"`{uri}` cannot be read: {error.strerror}")
    except (DecodeError, SerializeToJsonError, ValueError, TypeError, RecursionError):
        return Values(problem=f"`{uri}` holds something that cannot be shown")
