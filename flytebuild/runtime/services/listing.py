"""What all listings share: pages, and the comparisons of filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.common.list_pb2 import Filter, ListRequest

T = TypeVar("T")


def page(items: Sequence[T], request: ListRequest) -> tuple[Sequence[T], str]:
    """One page of a listing and the token of the next; a token is the number of items before it."""
    try:
        start = int(request.token or 0)
    except ValueError:
        raise ConnectError(Code.INVALID_ARGUMENT, f"`{request.token}` is not a page token") from None
    end = start + (request.limit or 100)
    return items[start:end], str(end) if end < len(items) else ""


def is_among(values: set[str], item: Filter) -> bool:
    """Whether a field that has `values` (one value, in all its spellings) passes a filter.

    Raises ConnectError for a comparison that would otherwise be ignored silently.
    """
    if item.function in (Filter.EQUAL, Filter.VALUE_IN):
        return not values.isdisjoint(item.values)
    if item.function in (Filter.NOT_EQUAL, Filter.VALUE_NOT_IN):
        return values.isdisjoint(item.values)
    if item.function == Filter.CONTAINS:
        return any(part in value for value in values for part in item.values)
    raise ConnectError(Code.INVALID_ARGUMENT, f"filter on `{item.field}`: this comparison is not supported")
