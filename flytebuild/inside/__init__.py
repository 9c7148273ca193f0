"""Programs that run inside of images, or of their containers; their text is sent along, and nothing here imports them.

They find whatever Python an image has, and nothing else of ours.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def text_of(name: str) -> str:
    """The text of the program in the module `name`."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
