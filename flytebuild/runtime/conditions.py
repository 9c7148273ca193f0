"""Conditions: actions that wait for somebody's answer, a signal, and pass it to the task that asked."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.model import ActionKey, Failure, Kind, Phase, now
from flytebuild.runtime.records import UnknownError

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal
    from flyteidl2.workflow.run_definition_pb2 import ConditionAction
    from flyteidl2.workflow.run_service_pb2 import EventPayload

log = logging.getLogger(__name__)


class SignalError(Exception):
    """Raised for a signal that a condition cannot take; says so in one sentence."""


class Conditions:
    """Ends conditions: by their signal, or when their time is over."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(self, key: ActionKey) -> None:
        """Let a condition's time begin, counted from its creation; one without a limit waits for ever."""
        action = self._ledger.action(key)
        limit = action.condition.timeout.ToTimedelta().total_seconds() if action.condition else 0
        if limit > 0:
            left = limit - (now() - action.created).total_seconds()
            asyncio.get_running_loop().call_later(max(left, 0), self._expire, key, limit)

    def resume(self) -> None:
        """Go on counting for what an earlier control plane has left."""
        for run in list(self._ledger.runs()):
            if not self._ledger.root(run.name).phase.is_terminal:
                for action in self._ledger.actions(run.name):
                    if action.kind is Kind.CONDITION and not action.phase.is_terminal:
                        self.begin(action.key)

    def signal(self, key: ActionKey, payload: EventPayload) -> None:
        """Answer a condition. Raises SignalError, UnknownError."""
        action = self._ledger.action(key)
        if action.condition is None:
            raise SignalError(f"action `{key.name}` of run `{key.run}` is no condition")
        value = literal(payload, action.condition)
        if not self._ledger.finish(key, Phase.SUCCEEDED, value=value):
            raise SignalError(f"condition `{action.condition.name}` of run `{key.run}` has ended already")

    def _expire(self, key: ActionKey, limit: float) -> None:
        message = f"The condition was not signaled within its limit of {limit:g} s"
        try:
            self._ledger.finish(key, Phase.TIMED_OUT, failure=Failure("ConditionTimedOut", message))
        except UnknownError:
            log.debug("the run of condition %s is gone", key)


def literal(payload: EventPayload, condition: ConditionAction) -> Literal:
    """What was signaled, as the type that the condition asks for. Raises SignalError for another one."""
    from flyteidl2.core.literals_pb2 import Literal, Primitive, Scalar
    from flyteidl2.core.types_pb2 import SimpleType

    given, wanted = payload.WhichOneof("value"), condition.type.simple
    match given, wanted:
        case "bool_value", SimpleType.BOOLEAN:
            primitive = Primitive(boolean=payload.bool_value)
        case "int_value", SimpleType.INTEGER:
            primitive = Primitive(integer=payload.int_value)
        case "int_value", SimpleType.FLOAT:
            primitive = Primitive(float_value=payload.int_value)
        case "float_value", SimpleType.FLOAT:
            primitive = Primitive(float_value=payload.float_value)
        case "string_value", SimpleType.STRING:
            primitive = Primitive(string_value=payload.string_value)
        case _:
            asked = SimpleType.Name(wanted).lower()
            kind = given.removesuffix("_value") if given else "nothing"
            raise SignalError(f"condition `{condition.name}` asks for a value of type {asked}, not {kind}")
    return Literal(scalar=Scalar(primitive=primitive))
