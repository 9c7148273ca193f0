"""What tasks ask for beside their images: secrets and resources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flyte._internal.runtime.resources_serde import get_proto_resources
from flyte._secret import secrets_from_request
from msgspec import Struct

from flytebuild.authoring import sdk
from flytebuild.authoring.environments import Definitions

if TYPE_CHECKING:
    from flyteidl2.core.tasks_pb2 import Resources


class Wish(Struct, frozen=True):
    """One task: the names of its secrets (`GROUP_KEY`), and its resources as the SDK sends them, if it has any."""

    task: str
    secrets: tuple[str, ...]
    resources: Resources | None


def wishes(definitions: Definitions, names: Iterable[str]) -> Iterator[Wish]:
    """What the tasks of some environments ask for."""
    for name in names:
        for task in getattr(definitions.environments[name], "tasks", {}).values():
            yield Wish(task.name, tuple(_secrets(task)), _resources(task))


def _secrets(task: Any) -> Iterator[str]:
    for secret in secrets_from_request(task.secrets) if task.secrets else ():
        yield sdk.secret_name(secret)


def _resources(task: Any) -> Resources | None:
    try:
        return get_proto_resources(task.resources)
    except (ValueError, TypeError, AttributeError):
        # The SDK says so itself, when it sends the task.
        return None
