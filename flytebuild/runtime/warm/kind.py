"""What containers must have in common to be each other's stand-in, and how a warm one of that kind is ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flytebuild.runtime.addresses import LABEL
from flytebuild.runtime.container import SECRETS_FOLDER, Limits, Order
from flytebuild.runtime.interpreter import command_of
from flytebuild.runtime.reuse import Reuse


@dataclass(frozen=True, slots=True)
class Kind:
    """Everything that a container has from its start on: two orders that agree in it may share one.

    The code bundle is not part of it, since every action fetches its own after its fork. Secrets are: those of one
    environment are never in another's container.
    """

    image: str
    variables: Mapping[str, str] = field(repr=False)
    limits: Limits
    secret_files: Mapping[str, str] = field(repr=False)
    reuse: Reuse


def kind(order: Order) -> Kind | None:
    """The kind of container that an order can share, or None for one that wants a container of its own."""
    if order.reuse is None or order.files or not order.is_flyte:
        return None
    variables = {name: value for name, value in order.environment.items() if name not in order.own}
    return Kind(order.image, variables, order.limits, order.secret_files, order.reuse)


def warm_order(order: Order, kind: Kind, idle: float) -> Order:
    """The order for a warm container of that kind; with nothing to do it ends after `idle` seconds."""
    return _waiting(order, kind, f"{idle:g}", f"{LABEL}.worker")


def ahead_order(order: Order, kind: Kind) -> Order:
    """The order for a container of that kind that waits to become one attempt."""
    return _waiting(order, kind, "", f"{LABEL}.ahead")


def _waiting(order: Order, kind: Kind, idle: str, label: str) -> Order:
    return replace(
        order,
        arguments=command_of("worker", idle, SECRETS_FOLDER),
        environment=kind.variables,
        labels={f"{LABEL}.home": order.labels.get(f"{LABEL}.home", ""), label: "1"},
        own=frozenset(),
        takes_input=True,
    )
