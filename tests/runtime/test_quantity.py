from __future__ import annotations

from decimal import Decimal

import pytest

from flytebuild.runtime import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("1.5", "1.5"), ("1Gi", 1 << 30), ("200Mi", 200 << 20), ("2e3", 2000), ("1k", 1000)],
)
def test_quantities(text: str, value: str | int) -> None:
    assert quantity.parse(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "much", "1 Gi", "1gi", "1KB", "Gi"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a resource quantity"):
        quantity.parse(text)
