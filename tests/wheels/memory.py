"""What readers of wheels and indexes remember, for as long as a test."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Memory:
    """What is remembered, by kind and key."""

    texts: dict[tuple[str, str], str] = field(default_factory=dict)

    def remembered(self, kind: str, key: str) -> str | None:
        return self.texts.get((kind, key))

    def remember(self, kind: str, key: str, text: str) -> None:
        self.texts[kind, key] = text
