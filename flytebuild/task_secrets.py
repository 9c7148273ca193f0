"""Values of secrets, on their way to the tasks that ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class TaskSecrets:
    """What was found of the secrets that tasks ask for, by name.

    `missing` says of each of the others why, as the end of a sentence that names it; no part of a value is in there.
    """

    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    missing: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
