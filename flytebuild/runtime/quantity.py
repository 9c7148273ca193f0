"""Kubernetes' resource quantities (`500m`, `1Gi`, `2e3`), as Flyte's resources are written.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:[eE]([+-]?\d+)|([a-zA-Z]{0,2}))")


def parse(text: str) -> Decimal:
    """The number that a quantity stands for.

    Raises ValueError for anything else.
    """
    found = _QUANTITY.fullmatch(text.strip())
    if not found or (found[3] or "") not in _SUFFIXES:
        raise ValueError(f"`{text}` is not a resource quantity")
    if found[2]:
        return Decimal(found[1]).scaleb(int(found[2]))
    return Decimal(found[1]) * _SUFFIXES[found[3] or ""]
