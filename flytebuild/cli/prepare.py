"""Images first: planning and building what a run needs, told in as few words as the work deserves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from flytebuild import pipeline
from flytebuild.amounts import duration
from flytebuild.authoring.environments import Definitions
from flytebuild.cli.console import err, notice
from flytebuild.cli.plan_text import summary
from flytebuild.config import Config
from flytebuild.errors import DefinitionError
from flytebuild.events import Notice
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Plan
from flytebuild.spec.model import Definition, ExternalImage

ready: dict[Definition, str] = {}
"""References of the images that this process has seen or made; the SDK asks for each of them once more."""


async def prepare(
    config: Config, definitions: Definitions, targets: Sequence[str] = (), *, is_checked: bool = False
) -> Plan:
    """Plan the closure of `targets` (everything, without targets) and build what is missing of it.

    Where it `is_checked`, what checks find is told. Raises as planning and building do.
    """
    with pipeline.reader(config, notice) as read:
        nodes = definitions.needed(targets, read)
    if is_checked:
        # Loaded here: `flyte run` tells nothing of it.
        from flytebuild import checks

        for message in checks.warnings(checks.check(config, definitions, nodes)):
            notice(Notice(message))
    return await prepare_nodes(config, nodes)


async def prepare_nodes(config: Config, nodes: Sequence[EnvironmentNode]) -> Plan:
    """The same for environments whose closure is known."""
    planned = await _planned(config, nodes)
    err().print(summary(planned) + _age(planned))
    if not planned.is_fulfilled:
        # Loaded here: most runs find everything built.
        from flytebuild.cli.progress import follow

        with pipeline.recorded(config) as experience, follow(config.progress, expected=experience.seconds) as emit:
            await pipeline.build(config, planned, emit)
    ready.update(
        {node.image: planned.reference_of(node.name) for node in nodes if not isinstance(node.image, ExternalImage)}
    )
    return planned


async def _planned(config: Config, nodes: Sequence[EnvironmentNode]) -> Plan:
    """What is there as it was answered not long ago, where that is all that is needed; else as it is now.

    A build never relies on what was answered before it: what is missing may be there by now, and a base may have moved.
    """
    if config.fresh_for_runs and not config.offline:
        # What a definition is refused for may be a base that has been mended.
        with contextlib.suppress(DefinitionError):
            known = await pipeline.plan_nodes(config, nodes, notice, fresh=config.fresh_for_runs)
            if known.is_fulfilled or known.as_of is None:
                return known
    return await pipeline.plan_nodes(config, nodes, notice)


def _age(planned: Plan) -> str:
    """How old the answers are, where nobody was asked."""
    return f" (as of {duration(max(time.time() - planned.as_of, 0))} ago)" if planned.as_of else ""
