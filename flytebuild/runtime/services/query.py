"""Which actions and runs a listing shows, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from operator import ge, gt, le, lt
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.list_pb2 import Filter, Sort
from flyteidl2.workflow.run_service_pb2 import ListRunsRequest

from flytebuild.runtime.model import Action, Phase, Run
from flytebuild.runtime.services.listing import is_among

_COMPARISONS: dict[int, Callable[[datetime, datetime], bool]] = {
    Filter.GREATER_THAN: gt,
    Filter.GREATER_THAN_OR_EQUAL: ge,
    Filter.LESS_THAN: lt,
    Filter.LESS_THAN_OR_EQUAL: le,
}
_LABEL = "labels."


def matches(run: Run, action: Action, filters: Iterable[Filter]) -> bool:
    """Whether an action of a run passes the filters of a listing; a run passes when its first action does.

    Raises ConnectError for a filter that would otherwise be ignored silently.
    """
    return all(_passes(run, action, item) for item in filters)


def is_in_scope(run: Run, root: Action, actions: Callable[[], Iterable[Action]], request: ListRunsRequest) -> bool:
    """Whether a run is among those that a listing of runs looks at. `actions` are the run's, read when they matter."""
    scope = request.WhichOneof("scope_by")
    if scope == "project_id":
        wanted = request.project_id
        is_inside = not wanted.name or (run.project, run.domain) == (wanted.name, wanted.domain)
    elif scope in ("task_name", "task_id"):
        wanted = getattr(request, scope)
        is_inside = (run.project, run.domain, root.task_name) == (wanted.project, wanted.domain, wanted.name)
        is_inside = is_inside and (scope == "task_name" or _version(root) == wanted.version)
    else:
        # Of organizations there is one, and no run here was started by a trigger.
        is_inside = scope != "trigger_name"
    if not is_inside or not request.paused_actions_only:
        return is_inside
    return any(action.phase is Phase.PAUSED for action in actions())


def ordered(actions: Iterable[Action], sort: Sort) -> Sequence[Action]:
    """Actions by the time of their creation or last change, or by name.

    Raises ConnectError for another order, which would otherwise be ignored silently.
    """
    keys: dict[str, Callable[[Action], Any]] = {
        "": lambda action: action.created,
        "created_at": lambda action: action.created,
        "updated_at": _updated,
        "name": lambda action: (action.key.name, action.key.run),
    }
    if sort.key not in keys:
        raise ConnectError(Code.INVALID_ARGUMENT, f"actions and runs cannot be sorted by `{sort.key}`")
    return sorted(actions, key=keys[sort.key], reverse=sort.direction == Sort.DESCENDING)


def _passes(run: Run, action: Action, item: Filter) -> bool:
    if item.field.startswith(_LABEL):
        return _passes_label(dict(run.spec.labels.values), item)
    times = {"created_at": action.created, "updated_at": _updated(action)}
    if item.field in times:
        return _passes_time(times[item.field], item)
    fields = {
        "action_type": {str(int(action.kind)), action.kind.name},
        "phase": {str(int(action.phase)), action.phase.name, f"ACTION_PHASE_{action.phase.name}"},
        "parent_name": {action.parent or ""},
        "name": {action.key.name},
        "run_name": {action.key.run},
        "task_name": {action.task_name},
        "task_version": {_version(action)},
    }
    if item.field == "created_by":
        raise ConnectError(Code.INVALID_ARGUMENT, "nothing can be listed by who created it: nobody is known here")
    if item.field not in fields:
        raise ConnectError(Code.INVALID_ARGUMENT, f"there is no filter on `{item.field}`")
    if item.field == "phase" and item.function == Filter.EQUAL:
        # The SDK sends the digits of a single phase one by one.
        return "".join(item.values) in fields["phase"]
    return is_among(fields[item.field], item)


def _passes_label(labels: dict[str, str], item: Filter) -> bool:
    name = item.field.removeprefix(_LABEL)
    if item.function in (Filter.EXISTS, Filter.NOT_EXISTS):
        return (name in labels) is bool(item.function == Filter.EXISTS)
    return is_among({labels[name]} if name in labels else set(), item)


def _passes_time(value: datetime, item: Filter) -> bool:
    if item.function not in _COMPARISONS:
        raise ConnectError(Code.INVALID_ARGUMENT, f"filter on `{item.field}`: this comparison is not supported")
    try:
        # Python 3.10 does not read a `Z`.
        (bound,) = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in item.values)
    except ValueError as error:
        raise ConnectError(
            Code.INVALID_ARGUMENT, f"filter on `{item.field}`: one time in ISO 8601 is needed"
        ) from error
    return _COMPARISONS[item.function](value, bound if bound.tzinfo else bound.replace(tzinfo=timezone.utc))


def _updated(action: Action) -> datetime:
    """When an action last entered a phase."""
    if action.ended is not None:
        return action.ended
    return action.last.transitions[-1].at if action.last is not None else action.created


def _version(action: Action) -> str:
    return str(action.task.task_template.id.version) if action.task is not None else ""
