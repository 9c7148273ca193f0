"""Plan, build and run Flyte workflows whose tasks live in different images.

`flytebuild.run(task, **inputs)` runs a task on this machine, each environment in its own image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flytebuild.cli.call import run

__all__ = ["run"]


def __getattr__(name: str) -> object:
    # Loaded when it is needed: every command imports this package.
    if name == "run":
        from flytebuild.cli.call import run

        return run
    raise AttributeError(f"module `{__name__}` has no `{name}`")
