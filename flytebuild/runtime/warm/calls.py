"""What tasks called the last time, which is what they will most likely call again.

What was seen in this process counts; before a task is seen again, it is what the journal tells of an earlier process.
Nothing of it is kept elsewhere: an order has secrets, and those of earlier processes are made anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from flytebuild.runtime.container import Order, OrderError, Secrets, Site, order
from flytebuild.runtime.model import Action, ActionKey, Kind, Run
from flytebuild.runtime.records import UnknownError

CALLERS = 64
"""Of so many tasks it is remembered what they called, those that were started last."""

RECENT = 256
"""So many actions of earlier processes are looked at, the newest."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an earlier process: the calling task and its image, the task that was called, and how to order it now.

    `order` raises OrderError where that is not possible any more.
    """

    caller: str
    image: str
    task: str
    order: Callable[[], Order]


def earlier(actions: Iterable[Action], run_of: Callable[[str], Run], site: Site, secrets: Secrets) -> Iterator[Call]:
    """The calls among some actions, in their order, but for those of runs that are not known."""
    actions = tuple(actions)
    callers = {action.key: action for action in actions}
    for action in actions:
        caller = callers.get(ActionKey(action.key.run, action.parent or ""))
        if caller and caller.last and action.last and action.kind is Kind.TASK:
            try:
                run = run_of(action.key.run)
            except UnknownError:
                continue
            again = partial(order, run, action, action.last, site, secrets)
            yield Call(caller.task_name, caller.last.image, action.task_name, again)


class Calls:
    """Who called whom."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Order]] = {}
        self._earlier: dict[str, dict[str, Call]] = {}

    def recall(self, calls: Iterable[Call]) -> None:
        """Take over what an earlier process saw; later calls count before earlier ones."""
        for call in calls:
            self._earlier.setdefault(call.caller, {})[call.task] = call

    def note(self, order: Order) -> None:
        """Note that a task was called, if another one has called it."""
        if order.caller:
            called = self._seen.pop(order.caller, {})
            self._seen[order.caller] = {**called, order.task: order}
            while len(self._seen) > CALLERS:
                self._seen.pop(next(iter(self._seen)))

    def of(self, order: Order) -> Iterator[Order]:
        """What a task that is started will most likely call, by the same image as then where it was another process."""
        if order.task in self._seen:
            yield from self._seen[order.task].values()
            return
        for call in self._earlier.get(order.task, {}).values():
            if call.image == order.image:
                with contextlib.suppress(OrderError):
                    yield call.order()
