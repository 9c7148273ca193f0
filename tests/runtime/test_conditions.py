"""Conditions: what answers them, what does not, and what is left after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from flyteidl2.workflow.run_definition_pb2 import ConditionAction
from flyteidl2.workflow.run_service_pb2 import EventPayload
from google.protobuf.duration_pb2 import Duration

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.conditions import Conditions, SignalError, literal
from flytebuild.runtime.encoding import decode, encode, parse_message
from flytebuild.runtime.model import Action, ActionKey, Kind, Phase, now
from flytebuild.runtime.records import UnknownError
from tests.runtime import samples

KEY = ActionKey("r1", "c1")


def asked(kind: SimpleType, *, seconds: float = 0) -> ConditionAction:
    timeout = Duration()
    timeout.FromTimedelta(timedelta(seconds=seconds))
    return ConditionAction(name="go", type=LiteralType(simple=kind), timeout=timeout if seconds else None)


def waiting(condition: ConditionAction) -> Ledger:
    ledger = Ledger()
    ledger.create_run(samples.run(), samples.action())
    child = replace(samples.action("c1", "a0"), kind=Kind.CONDITION, task=None, condition=condition)
    ledger.add(replace(child, phase=Phase.PAUSED, created=now()))
    return ledger


@pytest.mark.parametrize(
    ("kind", "payload", "found"),
    [
        (SimpleType.BOOLEAN, EventPayload(bool_value=False), "boolean: false"),
        (SimpleType.INTEGER, EventPayload(int_value=7), "integer: 7"),
        (SimpleType.FLOAT, EventPayload(float_value=0.5), "float_value: 0.5"),
        (SimpleType.FLOAT, EventPayload(int_value=2), "float_value: 2"),
        (SimpleType.STRING, EventPayload(string_value=""), 'string_value: ""'),
    ],
)
def test_a_value_of_the_type_that_is_asked_for(kind: SimpleType, payload: EventPayload, found: str) -> None:
    assert found in str(literal(payload, asked(kind)))


@pytest.mark.parametrize("payload", [EventPayload(string_value="yes"), EventPayload(int_value=1), EventPayload()])
def test_one_of_another_type_is_refused(payload: EventPayload) -> None:
    ledger = waiting(asked(SimpleType.BOOLEAN))
    with pytest.raises(SignalError, match="`go` asks for a value of type boolean"):
        Conditions(ledger).signal(KEY, payload)
    assert ledger.action(KEY).phase is Phase.PAUSED


def test_the_first_answer_stands() -> None:
    ledger = waiting(asked(SimpleType.INTEGER))
    conditions = Conditions(ledger)
    conditions.signal(KEY, EventPayload(int_value=1))
    with pytest.raises(SignalError, match="has ended already"):
        conditions.signal(KEY, EventPayload(int_value=2))
    value = ledger.action(KEY).value
    assert value is not None
    assert value.scalar.primitive.integer == 1
    with pytest.raises(SignalError, match="`a0` of run `r1` is no condition"):
        conditions.signal(ActionKey("r1", "a0"), EventPayload(int_value=2))
    with pytest.raises(UnknownError):
        conditions.signal(ActionKey("r1", "c9"), EventPayload(int_value=2))


def test_time_goes_on_after_a_restart() -> None:
    async def expire() -> Action:
        ledger = waiting(asked(SimpleType.INTEGER, seconds=0.01))
        Conditions(ledger).resume()
        async for _ in ledger.watch("r1", lambda action: action.key == KEY, 5):
            if ledger.action(KEY).phase.is_terminal:
                break
        return ledger.action(KEY)

    action = asyncio.run(expire())
    assert action.phase is Phase.TIMED_OUT
    assert action.failure is not None
    assert action.failure.message == "The condition was not signaled within its limit of 0.01 s"


def test_an_answer_is_recorded() -> None:
    ledger = waiting(asked(SimpleType.STRING))
    Conditions(ledger).signal(KEY, EventPayload(string_value="yes"))
    kept: dict[str, bytes] = {}

    def keep(body: bytes) -> str:
        kept[str(len(kept))] = body
        return str(len(kept) - 1)

    text = encode(ledger.action(KEY), keep)
    assert decode(text, lambda name, key: parse_message(name, kept[key])) == ledger.action(KEY)
